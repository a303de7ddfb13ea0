/*
 * A server around poll in C, as a distribution builds it (_FORTIFY_SOURCE):
 * the compiler turns poll, read and recv into __poll_chk, __read_chk and
 * __recv_chk, because it knows the buffers' sizes but not the arguments.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

static void put(int fd, const char *bytes, size_t n)
{
    if (TRY(write(fd, bytes, n)) != (long)n)
        exit(2);
}

int main(int argc, char **argv)
{
    /* Nothing that the compiler could know. */
    size_t room = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    nfds_t watched = argc - 1;
    struct pollfd fds[1];
    char buf[64], more[64];
    int round = 0;

    int listener = listener_that_says_its_port();
    int fd = TRY(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    for (;;) {
        fds[0] = (struct pollfd){.fd = fd, .events = POLLIN};
        TRY(poll(fds, watched, -1));
        ssize_t n = round++ % 2 ? read(fd, buf, room) : recv(fd, buf, room, 0);
        if (n == 0)
            return 0;
        TRY(n);
        /* Read on until there is no more, as an event loop does. */
        if (read(fd, more, room) >= 0 || errno != EAGAIN)
            return 3;
        put(fd, "echo ", 5);
        put(fd, buf, n);
    }
}
