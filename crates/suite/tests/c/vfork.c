/*
 * A server around epoll in C:
 * vfork and exec, system and popen with bytes in custody. Rust has no vfork.
 */
#define _GNU_SOURCE
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

static int stream;

static void put(const char *text)
{
    size_t n = strlen(text);
    if (TRY(write(stream, text, n)) != (long)n)
        exit(2);
}

/* vfork: the child shares our memory and may do no more than this. */
static void by_vfork(void)
{
    static char *const args[] = {"echo", "child", NULL};
    int status;
    pid_t child = vfork();
    if (child == 0) {
        if (dup2(stream, 1) != 1)
            _exit(9);
        execv("/bin/echo", args);
        _exit(9);
    }
    TRY(child);
    TRY(waitpid(child, &status, 0));
    if (status)
        exit(3);
}

static void by_system(void)
{
    char command[64];
    snprintf(command, sizeof command, "echo child >&%d", stream);
    if (TRY(system(command)))
        exit(4);
}

static void by_popen(void)
{
    char command[64];
    snprintf(command, sizeof command, "cat >&%d", stream);
    FILE *pipe = popen(command, "w");
    if (!pipe || fputs("child\n", pipe) < 0 || pclose(pipe))
        exit(5);
}

int main(int argc, char **argv __attribute__((unused)))
{
    struct epoll_event event = {.events = EPOLLIN};
    static void (*const ways[])(void) = {by_vfork, by_system, by_popen};
    /* Known only when it runs, so that the compiler emits the checked calls. */
    size_t room = argc > 5 ? 1 : 64;
    char buf[64];
    int on = 1;

    int listener = listener_that_says_its_port();

    int set = TRY(epoll_create1(EPOLL_CLOEXEC));
    TRY(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
    TRY(epoll_wait(set, &event, 1, -1));
    stream = TRY(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    TRY(setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    TRY(epoll_ctl(set, EPOLL_CTL_ADD, stream, &event));
    TRY(close(listener));

    for (int turn = 0;; turn++) {
        struct pollfd ready = {.fd = stream, .events = POLLIN};
        TRY(epoll_wait(set, &event, 1, -1));
        TRY(poll(&ready, (nfds_t)argc / argc, -1));
        if (!TRY(read(stream, buf, room)))
            return 0;
        put("be");
        put("fore\n");
        ways[turn % 3]();
        put("af");
        put("ter\n");
    }
}
