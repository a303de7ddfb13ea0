/*
 * A program written for the published ESCA: what its calls return, and what
 * arrives. With HEADER our header comes before or after the declarations of
 * the published one; without, they are as C90 has them and the argument is
 * left out. With WEAK nothing else defines the calls.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEFORE 1
#define AFTER 2
#ifndef HEADER
#define HEADER 0
#endif

#if HEADER == BEFORE
#include "esca.h"
#endif

#if HEADER
long esca_init();
long batch_start(int);
long batch_flush();
#define START() batch_start(2)
#elif defined WEAK
long esca_init() __attribute__((weak));
long batch_start() __attribute__((weak));
long batch_flush() __attribute__((weak));
#define START() batch_start()
#else
long esca_init();
long batch_start();
long batch_flush();
#define START() batch_start()
#endif

#if HEADER == AFTER
#include "esca.h"
#endif

#define TRY(call)                                                             \
    ({                                                                        \
        long r_ = (call);                                                     \
        if (r_ < 0) {                                                         \
            perror(#call);                                                    \
            exit(1);                                                          \
        }                                                                     \
        r_;                                                                   \
    })

static void pair(int out[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = TRY(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    TRY(bind(listener, (struct sockaddr *)&at, sizeof at));
    TRY(listen(listener, 1));
    TRY(getsockname(listener, (struct sockaddr *)&at, &len));
    out[1] = TRY(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    TRY(connect(out[1], (struct sockaddr *)&at, sizeof at));
    out[0] = TRY(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    TRY(close(listener));
}

/* The next bytes of the peer. */
static const char *take(int fd, size_t n)
{
    static char got[64];
    got[TRY(recv(fd, got, n, MSG_WAITALL))] = 0;
    return got;
}

/* Anything that the register of the argument may hold. */
static void any_argument(int fd)
{
    long (*start)(unsigned long) = (long (*)(unsigned long))(void *)batch_start;
    unsigned long any[] = {0, 1, INT_MAX, 1ul << 31, UINT_MAX, ULONG_MAX,
                           0xdeadbeefcafef00d, (unsigned long)any};
    for (unsigned i = 0; i < sizeof any / sizeof *any; i++) {
        if (start(any[i]) != 0)
            exit(2);
        TRY(write(fd, "0123456789" + i, 1));
        TRY(batch_flush());
    }
}

int main(void)
{
#ifdef WEAK
    if (!batch_start) {
        puts("absent");
        return 0;
    }
#endif
    int s[2];
    pair(s);
    long init = esca_init();
    printf("init %ld %s\n", init, init ? strerrorname_np(errno) : "");

    long flush = batch_flush();
    printf("flush of none %ld\n", flush);

    long start = START();
    TRY(write(s[0], "a", 1));
    TRY(write(s[0], "b", 1));
    printf("start %ld\n", start);
    start = START();
    TRY(write(s[0], "c", 1));
    flush = batch_flush();
    printf("again %ld, flush %ld '%s'\n", start, flush, take(s[1], 3));
    flush = batch_flush();
    printf("flush of none %ld\n", flush);

    any_argument(s[0]);
    printf("any argument '%s'\n", take(s[1], 8));
    return 0;
}
