/*
 * A stand-in for a TCP stack in user space: what goes through its calls
 * arrives in capitals, so a call that goes past it shows.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_socket(int fd)
{
    int type;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

static ssize_t in_capitals(int fd, const char *from, size_t n, int flags)
{
    ssize_t (*next)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
    char *to = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        to[i] = toupper((unsigned char)from[i]);
    ssize_t done = next(fd, to, n, flags);
    free(to);
    return done;
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    return in_capitals(fd, from, n, flags);
}

ssize_t write(int fd, const void *from, size_t n)
{
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return is_socket(fd) ? in_capitals(fd, from, n, 0) : next(fd, from, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    ssize_t all = 0;
    for (int i = 0; i < n; i++) {
        ssize_t done = write(fd, v[i].iov_base, v[i].iov_len);
        if (done < 0)
            return all ? all : done;
        all += done;
        if ((size_t)done < v[i].iov_len)
            break;
    }
    return all;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    (void)flags;
    return writev(fd, m->msg_iov, m->msg_iovlen);
}
