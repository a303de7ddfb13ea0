/*
 * What many preloaded libraries are like: they interpose calls that make or
 * end descriptors, or that have to do with files, and pass them on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>

#define PASSED_ON(result, name, parameters, arguments)                        \
    result name parameters                                                    \
    {                                                                         \
        result(*next) parameters = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
        return next arguments;                                                \
    }

PASSED_ON(int, close, (int fd), (fd))
PASSED_ON(int, fsync, (int fd), (fd))
PASSED_ON(int, socket, (int d, int t, int p), (d, t, p))
PASSED_ON(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
PASSED_ON(int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n),
          (fd, l, o, v, n))
