/*
 * A master and its workers, one after the other: each serves one client by two
 * writes a turn and is then killed, so only the master ends as programs do.
 */
#define _GNU_SOURCE
#include "server.h"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void serve(int listener)
{
    char turn;
    int fd = TRY(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (TRY(poll(&p, 1, -1)) > 0 && read(fd, &turn, 1) == 1) {
        TRY(write(fd, "one ", 4));
        TRY(write(fd, "two ", 4));
    }
    TRY(close(fd));
    TRY(poll(NULL, 0, 0));
    kill(getpid(), SIGKILL);
}

int main(int argc, char **argv)
{
    int listener = listener_that_says_its_port();
    int workers = argc > 1 ? atoi(argv[1]) : 1;

    for (int i = 0; i < workers; i++) {
        pid_t worker = TRY(fork());
        if (worker == 0)
            serve(listener);
        TRY(waitpid(worker, NULL, 0));
    }
    return 0;
}
