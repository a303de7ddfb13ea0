/*
 * What the C servers of the tests share: a call that must succeed, and a
 * listener that says its port.
 */
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define TRY(call)                                                             \
    ({                                                                        \
        long r_ = (call);                                                     \
        if (r_ < 0) {                                                         \
            perror(#call);                                                    \
            exit(1);                                                          \
        }                                                                     \
        r_;                                                                   \
    })

/* A socket that listens on a port of loopback, which it prints. */
static int listener_that_says_its_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    int listener = TRY(socket(AF_INET, SOCK_STREAM, 0));
    TRY(bind(listener, (struct sockaddr *)&at, sizeof at));
    TRY(listen(listener, 1));
    TRY(getsockname(listener, (struct sockaddr *)&at, &len));
    printf("%d\n", ntohs(at.sin_port));
    TRY(fflush(stdout));
    return listener;
}
