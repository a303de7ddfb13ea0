/*
 * An explicit segment: a header, a file and another stream's answer, handed
 * to the kernel together, and what became of each.
 *
 *     gcc -Iinclude -o explicit examples/explicit.c -Ltarget/release -lshim
 *     LD_LIBRARY_PATH=target/release ./explicit                # without ESCA
 *     LD_LIBRARY_PATH=target/release \
 *         LD_PRELOAD=target/release/libesca_preload.so ./explicit
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "esca.h"

#define FILE_BYTES 6000

#define TRY(call)                                                             \
    ({                                                                        \
        long r_ = (call);                                                     \
        if (r_ < 0) {                                                         \
            perror(#call);                                                    \
            exit(1);                                                          \
        }                                                                     \
        r_;                                                                   \
    })

/* A connection over loopback: out[0] is the server's end, non-blocking. */
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

/* Reads up to the end of the stream. */
static size_t drain(int fd, char *buf, size_t room)
{
    size_t got = 0;
    long n;
    while (got < room && (n = TRY(read(fd, buf + got, room - got))) > 0)
        got += n;
    return got;
}

static const char *name(int op)
{
    switch (op) {
    case ESCA_OP_WRITE: return "write";
    case ESCA_OP_SENDFILE: return "sendfile";
    case ESCA_OP_SHUTDOWN: return "shutdown";
    case ESCA_OP_CLOSE: return "close";
    default: return "?";
    }
}

int main(void)
{
    static char page[FILE_BYTES], got[2 * FILE_BYTES];
    char head[64];
    int first[2], second[2];
    off_t off = 0;

    memset(page, 'x', sizeof page);
    FILE *file = tmpfile();
    if (!file || fwrite(page, 1, sizeof page, file) != sizeof page ||
        fflush(file)) {
        perror("tmpfile");
        return 1;
    }

    TRY(esca_init());
    pair(first);
    pair(second);
    int n = snprintf(head, sizeof head, "Content-Length: %d\r\n\r\n", FILE_BYTES);

    TRY(batch_start(4));
    TRY(write(first[0], head, n));
    TRY(write(second[0], "+PONG\r\n", 7));
    if (TRY(sendfile(first[0], fileno(file), &off, FILE_BYTES)) != FILE_BYTES ||
        off != FILE_BYTES)
        return 1;
    TRY(close(first[0]));
    TRY(shutdown(second[0], SHUT_WR));
    long kept = TRY(batch_flush());
    /* None is open now: nothing to do, and no error. */
    if (batch_flush() != 0)
        return 1;

    if (drain(first[1], got, sizeof got) != (size_t)n + FILE_BYTES ||
        memcmp(got, head, n) || memcmp(got + n, page, FILE_BYTES)) {
        fprintf(stderr, "first stream: wrong bytes\n");
        return 1;
    }
    if (drain(second[1], got, sizeof got) != 7 || memcmp(got, "+PONG\r\n", 7)) {
        fprintf(stderr, "second stream: wrong bytes\n");
        return 1;
    }

    struct esca_result results[8];
    long count = esca_results(results, 8);
    printf("%ld operations in the segment\n", kept);
    for (long i = 0; i < count; i++)
        printf("  %s on stream %d: %ld\n", name(results[i].op),
               results[i].fd == first[0] ? 1 : 2, results[i].result);
    return 0;
}
