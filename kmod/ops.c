// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The operations: each does what its plain call does, in the plain call's
 * order of checks, through exported functions. The walker (src/walk.rs) calls
 * them with numbers as the process wrote them; nothing has been checked yet.
 */
#include <linux/module.h>
#include <linux/fsnotify.h>
#include <linux/sched/signal.h>
#include <linux/sched/xacct.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/splice.h>
#include <linux/task_work.h>
#include <linux/tcp.h>

#include "compat.h"
#include "glue.h"

/* A signal goes first, and the end of a file that could not be ended here. */
bool esca_glue_pause(void)
{
	cond_resched();
	return signal_pending(current) ||
	       (ESCA_PUT_LATER && task_work_pending(current));
}

static void esca_drop(struct esca_run *r)
{
	if (r->file) {
		esca_put(r->file);
		r->file = NULL;
	}
}

void esca_run_end(struct esca_run *r)
{
	esca_drop(r);
	if (r->pinned)
		fput(r->device);
}

/*
 * The file of @fd, until the next lookup; NULL for EBADF.
 *
 * As fdget(): while nobody else has the descriptor table, the table's own
 * reference is enough, since only this task could close it. Otherwise the
 * last file is kept, with a reference, and used again for the same number if
 * the table still has it there: the same answer as a new lookup, without the
 * reference count's cache line. Nothing is dereferenced before it is known to
 * be the file that is held.
 */
static struct file *esca_file(struct esca_run *r, int fd)
{
	struct files_struct *files = current->files;
	struct file *file;

	if (likely(atomic_read_acquire(&files->count) == 1)) {
		file = files_lookup_fd_raw(files, fd);
		return file && !(file->f_mode & FMODE_PATH) ? file : NULL;
	}
	if (r->file && r->fd == fd) {
		rcu_read_lock();
		file = files_lookup_fd_raw(files, fd);
		rcu_read_unlock();
		if (file == r->file)
			return file;
	}
	esca_drop(r);
	r->fd = fd;
	r->file = fget(fd);
	return r->file;
}

/* A second file beside esca_file()'s; release with esca_put_second(). */
static struct file *esca_second(int fd, bool *counted)
{
	struct files_struct *files = current->files;
	struct file *file;

	*counted = atomic_read_acquire(&files->count) != 1;
	if (*counted)
		return fget(fd);
	file = files_lookup_fd_raw(files, fd);
	return file && !(file->f_mode & FMODE_PATH) ? file : NULL;
}

static void esca_put_second(struct file *file, bool counted)
{
	if (counted)
		esca_put(file);
}

static struct socket *esca_socket(struct esca_run *r, int fd, int *err)
{
	struct file *file = esca_file(r, fd);
	struct socket *sock;

	if (unlikely(!file)) {
		*err = -EBADF;
		return NULL;
	}
	sock = sock_from_file(file);
	if (unlikely(!sock))
		*err = -ENOTSOCK;
	return sock;
}

/*
 * All but msg_iter, field by field. As nothing of it stays unset, the headers
 * on our stack are ESCA_UNINIT: else the compiler, told to leave nothing on the
 * stack without a value, would zero them first.
 */
static inline void esca_msg(struct msghdr *msg, u32 flags)
{
	msg->msg_name = NULL;
	msg->msg_namelen = 0;
	msg->msg_inq = 0;
	msg->msg_control = NULL;
	msg->msg_controllen = 0;
	msg->msg_control_is_user = false;
	msg->msg_get_inq = false;
	msg->msg_iocb = NULL;
	msg->msg_ubuf = NULL;
	msg->sg_from_iter = NULL;
	msg->msg_flags = flags;
}

static inline u32 esca_send_flags(const struct file *file, u32 flags)
{
	flags &= ~MSG_INTERNAL_SENDMSG_FLAGS;
	if (file->f_flags & O_NONBLOCK)
		flags |= MSG_DONTWAIT;
	return flags;
}

/* __sys_sendto() without an address */
s64 esca_glue_send(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags)
{
	struct esca_import room;
	struct socket *sock;
	struct msghdr msg ESCA_UNINIT;
	int err;

	err = esca_import(ITER_SOURCE, ptr, len, &room, &msg.msg_iter);
	if (unlikely(err))
		return err;
	sock = esca_socket(r, fd, &err);
	if (unlikely(!sock))
		return err;
	esca_msg(&msg, esca_send_flags(sock->file, flags));
	return sock_sendmsg(sock, &msg);
}

/* __sys_sendmsg() of a header with pieces only */
s64 esca_glue_sendmsg(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags,
		      u64 *want)
{
	struct iovec stack[UIO_FASTIOV], *iov = stack;
	struct socket *sock;
	struct msghdr msg ESCA_UNINIT;
	int err;
	s64 ret;

	if (flags & MSG_CMSG_COMPAT)
		return -EINVAL;
	sock = esca_socket(r, fd, &err);
	if (unlikely(!sock))
		return err;
	if (unlikely(len > UIO_MAXIOV))
		return -EMSGSIZE;
	ret = import_iovec(ITER_SOURCE, (void __user *)ptr, len,
			   ARRAY_SIZE(stack), &iov, &msg.msg_iter);
	if (unlikely(ret < 0))
		return ret;
	*want = iov_iter_count(&msg.msg_iter);
	esca_msg(&msg, esca_send_flags(sock->file, flags));
	ret = sock_sendmsg(sock, &msg);
	kfree(iov);
	return ret;
}

/* __sys_recvfrom() without an address */
s64 esca_glue_recv(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags)
{
	struct esca_import room;
	struct socket *sock;
	struct msghdr msg ESCA_UNINIT;
	int err;

	err = esca_import(ITER_DEST, ptr, len, &room, &msg.msg_iter);
	if (unlikely(err))
		return err;
	sock = esca_socket(r, fd, &err);
	if (unlikely(!sock))
		return err;
	if (sock->file->f_flags & O_NONBLOCK)
		flags |= MSG_DONTWAIT;
	esca_msg(&msg, 0);
	return sock_recvmsg(sock, &msg, flags);
}

/* The position that a call without an offset uses, locked. */
static loff_t *esca_lock_pos(struct file *file, bool *locked)
{
	*locked = file->f_mode & FMODE_ATOMIC_POS;
	if (*locked)
		mutex_lock(&file->f_pos_lock);
	return file->f_mode & FMODE_STREAM ? NULL : &file->f_pos;
}

/* vfs_iter_write() at the file's position */
static s64 esca_write_iter(struct file *file, struct iov_iter *iter)
{
	loff_t pos, *own;
	bool locked;
	s64 ret;

	/* the plain call would use a function that is not exported */
	if (!file->f_op->write_iter)
		return -EOPNOTSUPP;
	own = esca_lock_pos(file, &locked);
	pos = own ? *own : 0;
	/* 6.12 has it inside */
	if (LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0))
		file_start_write(file);
	ret = vfs_iter_write(file, iter, own ? &pos : NULL, 0);
	if (LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0))
		file_end_write(file);
	if (ret >= 0 && own)
		*own = pos;
	if (locked)
		mutex_unlock(&file->f_pos_lock);
	if (ret > 0)
		add_wchar(current, ret);
	inc_syscw(current);
	return ret;
}

/* An empty write(2) to a socket is a call to it, unlike an empty writev(2). */
static s64 esca_write_empty(struct file *file, struct socket *sock,
			    struct msghdr *msg)
{
	s64 ret = rw_verify_area(WRITE, file, NULL, 0);

	if (ret)
		return ret;
	esca_msg(msg, esca_send_flags(file, 0));
	if (sock->type == SOCK_SEQPACKET)
		msg->msg_flags |= MSG_EOR;
	inc_syscw(current);
	return sock_sendmsg(sock, msg);
}

/* ksys_write() */
s64 esca_glue_write(struct esca_run *r, int fd, u64 ptr, u64 len)
{
	struct file *file = esca_file(r, fd);
	struct esca_import room;
	struct msghdr msg ESCA_UNINIT;
	int err;

	if (!file || !(file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (!(file->f_mode & FMODE_CAN_WRITE))
		return -EINVAL;
	if (unlikely(!access_ok((void __user *)ptr, len)))
		return -EFAULT;
	if (file->f_op->write)
		return -EOPNOTSUPP;
	err = esca_import(ITER_SOURCE, ptr, len, &room, &msg.msg_iter);
	if (unlikely(err))
		return err;
	if (unlikely(!len)) {
		struct socket *sock = sock_from_file(file);

		if (sock)
			return esca_write_empty(file, sock, &msg);
	}
	return esca_write_iter(file, &msg.msg_iter);
}

/* do_writev() */
s64 esca_glue_writev(struct esca_run *r, int fd, u64 ptr, u64 len, u64 *want)
{
	struct iovec stack[UIO_FASTIOV], *iov = stack;
	struct file *file = esca_file(r, fd);
	struct iov_iter iter;
	s64 ret;

	if (!file)
		return -EBADF;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (!(file->f_mode & FMODE_CAN_WRITE))
		return -EINVAL;
#endif
	if (unlikely(len > UINT_MAX))
		return -EINVAL;
	ret = import_iovec(ITER_SOURCE, (void __user *)ptr, len,
			   ARRAY_SIZE(stack), &iov, &iter);
	if (unlikely(ret < 0))
		return ret;
	*want = iov_iter_count(&iter);
	ret = esca_write_iter(file, &iter);
	kfree(iov);
	return ret;
}

/* ksys_read(), or ksys_pread64() with @at */
s64 esca_glue_read(struct esca_run *r, int fd, u64 ptr, u64 len, bool at,
		   u64 off)
{
	loff_t pos = off, *own = NULL;
	bool locked = false;
	struct esca_import room;
	struct iov_iter iter;
	struct file *file;
	s64 ret;

	if (at && pos < 0)
		return -EINVAL;
	file = esca_file(r, fd);
	if (!file)
		return -EBADF;
	if (at && !(file->f_mode & FMODE_PREAD))
		return -ESPIPE;
	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (!(file->f_mode & FMODE_CAN_READ))
		return -EINVAL;
	if (unlikely(!access_ok((void __user *)ptr, len)))
		return -EFAULT;
	/* the plain call would use a function that is not exported */
	if (file->f_op->read || !file->f_op->read_iter)
		return -EOPNOTSUPP;
	ret = esca_import(ITER_DEST, ptr, len, &room, &iter);
	if (unlikely(ret))
		return ret;
	if (!at) {
		own = esca_lock_pos(file, &locked);
		pos = own ? *own : 0;
	}
	ret = vfs_iter_read(file, &iter, at || own ? &pos : NULL, 0);
	if (ret >= 0 && own)
		*own = pos;
	if (locked)
		mutex_unlock(&file->f_pos_lock);
	if (ret > 0)
		add_rchar(current, ret);
	inc_syscr(current);
	return ret;
}

/* do_sendfile() to a socket */
s64 esca_glue_sendfile(struct esca_run *r, int outfd, int infd, bool own,
		       u64 off, u64 len, u32 flags)
{
	loff_t pos = off, out_pos = 0, max;
	struct file *in, *out;
	bool counted;
	s64 ret = -EBADF;

	in = esca_second(infd, &counted);
	if (!in)
		return -EBADF;
	if (!(in->f_mode & FMODE_READ))
		goto put;
	if (own) {
		pos = in->f_pos;
	} else if (!(in->f_mode & FMODE_PREAD)) {
		ret = -ESPIPE;
		goto put;
	}
	ret = rw_verify_area(READ, in, &pos, len);
	if (ret < 0)
		goto put;
	len = min_t(u64, len, MAX_RW_COUNT);
	ret = -EBADF;
	out = esca_file(r, outfd);
	if (!out || !(out->f_mode & FMODE_WRITE))
		goto put;
	ret = -EOPNOTSUPP;
	if (!sock_from_file(out))
		goto put;
	max = min(file_inode(in)->i_sb->s_maxbytes,
		  file_inode(out)->i_sb->s_maxbytes);
	if (unlikely(pos + (loff_t)len > max)) {
		ret = -EOVERFLOW;
		if (pos >= max)
			goto put;
		len = max - pos;
	}
	ret = rw_verify_area(WRITE, out, &out_pos, len);
	if (ret < 0)
		goto put;
	ret = do_splice_direct(in, &pos, out, &out_pos, len, flags);
	if (ret > 0) {
		add_rchar(current, ret);
		add_wchar(current, ret);
		fsnotify_access(in);
		fsnotify_modify(out);
		if (own)
			in->f_pos = pos;
	}
	inc_syscr(current);
	inc_syscw(current);
	if (pos > max)
		ret = -EOVERFLOW;
put:
	esca_put_second(in, counted);
	return ret;
}

/* pread(2) into a buffer of the kernel and send(2) from it */
s64 esca_glue_sendfile_copy(struct esca_run *r, int outfd, int infd, u64 off,
			    u64 len, u32 flags)
{
	loff_t pos = off;
	struct socket *sock;
	struct iov_iter iter;
	struct msghdr msg ESCA_UNINIT;
	struct file *in;
	struct kvec vec;
	bool counted;
	int err;
	s64 ret;

	if (pos < 0 || len > ESCA_COPY_MAX)
		return -EINVAL;
	/* pages of this buffer must not be queued: the next entry reuses it */
	if (flags & MSG_ZEROCOPY)
		return -EINVAL;
	if (!*r->bounce) {
		*r->bounce = kvmalloc(ESCA_COPY_MAX, GFP_KERNEL_ACCOUNT);
		if (!*r->bounce)
			return -ENOMEM;
	}
	in = esca_second(infd, &counted);
	if (!in)
		return -EBADF;
	ret = -ESPIPE;
	if (!(in->f_mode & FMODE_PREAD))
		goto put;
	ret = -EOPNOTSUPP;
	if (!in->f_op->read_iter)
		goto put;
	vec.iov_base = *r->bounce;
	vec.iov_len = len;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, len);
	ret = vfs_iter_read(in, &iter, &pos, 0);
	inc_syscr(current);
	if (ret <= 0)
		goto put;
	add_rchar(current, ret);
	vec.iov_len = ret;
	/* only now: at the file's end the socket is not asked for */
	sock = esca_socket(r, outfd, &err);
	if (!sock) {
		ret = err;
		goto put;
	}
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, ret);
	esca_msg(&msg, esca_send_flags(sock->file, flags));
	ret = sock_sendmsg(sock, &msg);
put:
	esca_put_second(in, counted);
	return ret;
}

/* __sys_shutdown(), without the security module's word: see docs/kmod.md */
s64 esca_glue_shutdown(struct esca_run *r, int fd, int how)
{
	struct socket *sock;
	int err;

	if (!READ_ONCE(esca_allow_unhooked))
		return -EOPNOTSUPP;
	sock = esca_socket(r, fd, &err);
	if (!sock)
		return err;
	return kernel_sock_shutdown(sock, how);
}

s64 esca_glue_close(struct esca_run *r, int fd)
{
	/* a kept reference would put off the file's end */
	esca_drop(r);
	/*
	 * It may be the device's own descriptor, of which ioctl() holds no
	 * reference in a process of one thread.
	 */
	if (!r->pinned) {
		get_file(r->device);
		r->pinned = true;
	}
	return esca_close(fd);
}

/* What servers set once a request or connection. */
static bool esca_option(int level, int name)
{
	if (level == SOL_TCP)
		return name == TCP_NODELAY || name == TCP_CORK ||
		       name == TCP_QUICKACK || name == TCP_NOTSENT_LOWAT;
	if (level == SOL_SOCKET)
		return name == SO_KEEPALIVE || name == SO_LINGER;
	return false;
}

s64 esca_glue_setsockopt(struct esca_run *r, int fd, int level, int name,
			 u64 value, u32 len)
{
	struct socket *sock;
	int err;

	if (!ESCA_HOOKED_SETSOCKOPT && !READ_ONCE(esca_allow_unhooked))
		return -EOPNOTSUPP;
	if (!esca_option(level, name))
		return -EOPNOTSUPP;
	sock = esca_socket(r, fd, &err);
	if (!sock)
		return err;
	return esca_setsockopt(sock, level, name, &value, len);
}
