/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What differs between kernels 6.1 and 6.12, in one place. */
#ifndef ESCA_COMPAT_H
#define ESCA_COMPAT_H

#include <linux/version.h>
#include <linux/file.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/uio.h>
#include <net/sock.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "esca needs Linux 6.1 or later"
#endif

/* Not zeroed by CONFIG_INIT_STACK_ALL_ZERO (GCC 12, Clang): set in full. */
#if __has_attribute(__uninitialized__)
#define ESCA_UNINIT __attribute__((__uninitialized__))
#else
#define ESCA_UNINIT
#endif

/* vma->vm_flags is set through functions since 6.3 */
static inline void esca_vm_flags(struct vm_area_struct *vma,
				 unsigned long set, unsigned long clear)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#else
	vm_flags_mod(vma, set, clear);
#endif
}

/* Room that importing one buffer needs: the iovec of kernels before 6.4. */
struct esca_import {
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	struct iovec iov;
#endif
};

/* The caller's buffer as an iterator, checked as the plain call does. */
static inline int esca_import(int dir, u64 ptr, u64 len,
			      struct esca_import *room, struct iov_iter *iter)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	return import_single_range(dir, (void __user *)ptr, len, &room->iov,
				   iter);
#else
	return import_ubuf(dir, (void __user *)ptr, len, iter);
#endif
}

/*
 * The end of a file whose last reference goes. On 6.12, close(2) does it before
 * it returns, and so can we. On 6.1 it is left for the way back to user space,
 * so a run stops for it: what comes after must see it done.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define ESCA_PUT_LATER 1

static inline void esca_put(struct file *file)
{
	fput(file);
}

static inline long esca_close(unsigned int fd)
{
	return close_fd(fd);
}
#else
#define ESCA_PUT_LATER 0

static inline void esca_put(struct file *file)
{
	__fput_sync(file);
}

static inline long esca_close(unsigned int fd)
{
	struct file *file = file_close_fd(fd);
	long ret;

	if (!file)
		return -EBADF;
	/* filp_flush() is not exported; this is it, and one reference less */
	get_file(file);
	ret = filp_close(file, current->files);
	__fput_sync(file);
	return ret;
}
#endif

/* On 6.12 all of setsockopt(2) is a function that modules may call. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define ESCA_HOOKED_SETSOCKOPT 0
#else
#define ESCA_HOOKED_SETSOCKOPT 1
#endif

static inline long esca_setsockopt(struct socket *sock, int level, int name,
				   void *value, int len)
{
	sockptr_t val = KERNEL_SOCKPTR(value);

#if !ESCA_HOOKED_SETSOCKOPT
	/* MPTCP has SOL_SOCKET options of its own */
	if (level == SOL_SOCKET && sock->sk->sk_protocol != IPPROTO_MPTCP)
		return sock_setsockopt(sock, level, name, val, len);
	if (!sock->ops->setsockopt)
		return -EOPNOTSUPP;
	return sock->ops->setsockopt(sock, level, name, val, len);
#else
	return do_sock_setsockopt(sock, false, level, name, val, len);
#endif
}

#endif
