// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * /dev/esca: contexts, their tables, and who may use them.
 *
 * A context belongs to the process that opened it. Its table is ordinary
 * pages, accounted to the opener's memory cgroup, that the process maps and
 * the kernel sees through a mapping of its own.
 */
#include <linux/module.h>
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seccomp.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "glue.h"

static bool allow_seccomp;
module_param(allow_seccomp, bool, 0644);
MODULE_PARM_DESC(allow_seccomp,
		 "Serve tasks under a seccomp filter, which a table goes past (default: no)");

bool esca_allow_unhooked;
module_param_named(allow_unhooked, esca_allow_unhooked, bool, 0644);
MODULE_PARM_DESC(allow_unhooked,
		 "Carry out operations for which no exported function asks the security module: shutdown, and setsockopt before Linux 6.12 (default: no)");

struct esca_ctx {
	/* bit 0: a call is in progress */
	unsigned long busy;
	/* who opened it; both are held, so that neither address is reused */
	struct mm_struct *mm;
	struct pid *tgid;
	/* set once by SETUP, entries last */
	u32 entries;
	u32 n_pages;
	struct page **pages;
	void *table;
	void *bounce;
};

/* What has to be done before the task goes on, between two operations. */
#define ESCA_WANTED (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | \
		     _TIF_NEED_RESCHED | \
		     (ESCA_PUT_LATER ? _TIF_NOTIFY_RESUME : 0))

static u64 esca_opcodes(void)
{
	u64 all = (1ULL << ESCA_OPCODES) - 1;

	if (!READ_ONCE(esca_allow_unhooked)) {
		all &= ~(1ULL << ESCA_OP_SHUTDOWN);
		if (!ESCA_HOOKED_SETSOCKOPT)
			all &= ~(1ULL << ESCA_OP_SETSOCKOPT);
	}
	return all;
}

static int esca_open(struct inode *inode, struct file *file)
{
	struct esca_ctx *c;

	if (!current->mm)
		return -EPERM;
	c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	if (!c)
		return -ENOMEM;
	mmgrab(current->mm);
	c->mm = current->mm;
	c->tgid = get_pid(task_tgid(current));
	file->private_data = c;
	/* nothing to read at a position; esca_llseek() is another matter */
	file->f_mode &= ~(FMODE_PREAD | FMODE_PWRITE);
	return 0;
}

/* After the last reference: no run and no mapping is left. */
static int esca_release(struct inode *inode, struct file *file)
{
	struct esca_ctx *c = file->private_data;
	u32 i;

	if (c->table)
		vunmap(c->table);
	for (i = 0; i < c->n_pages; i++)
		__free_page(c->pages[i]);
	kvfree(c->pages);
	kvfree(c->bounce);
	put_pid(c->tgid);
	mmdrop(c->mm);
	kfree(c);
	return 0;
}

static bool esca_mine(const struct esca_ctx *c)
{
	return current->mm == c->mm && task_tgid(current) == c->tgid;
}

static int esca_make_table(struct esca_ctx *c, u32 entries)
{
	u32 i, n = DIV_ROUND_UP(entries * ESCA_ENTRY, PAGE_SIZE);
	struct page **pages;
	void *table;

	pages = kvcalloc(n, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!pages[i])
			goto fail;
	}
	table = vmap(pages, n, VM_MAP, PAGE_KERNEL);
	if (!table)
		goto fail;
	c->pages = pages;
	c->n_pages = n;
	c->table = table;
	/* mmap() looks without taking busy */
	smp_store_release(&c->entries, entries);
	return 0;
fail:
	while (i--)
		__free_page(pages[i]);
	kvfree(pages);
	return -ENOMEM;
}

static long esca_setup(struct esca_ctx *c, unsigned int size,
		       void __user *user)
{
	struct esca_setup ask;
	int err;

	/* of all versions of the struct, the first is the shortest */
	if (size < sizeof(ask))
		return -EINVAL;
	err = copy_struct_from_user(&ask, sizeof(ask), user, size);
	if (err)
		return err;
	if (c->entries)
		return -EBUSY;
	err = esca_rs_setup(&ask, esca_opcodes());
	if (!err)
		err = esca_make_table(c, ask.entries);
	/* also on failure: the caller learns the module's version */
	if (copy_to_user(user, &ask, sizeof(ask)))
		return -EFAULT;
	return err;
}

static long esca_run_table(struct file *file, struct esca_ctx *c,
			   unsigned long n, struct esca_run *r)
{
	if (unlikely(!c->entries))
		return -EBADFD;
	if (unlikely(n > c->entries))
		return -EINVAL;
	return esca_rs_run(c->table, n, r, &current_thread_info()->flags,
			   ESCA_WANTED);
}

static __always_inline long esca_call(struct file *file, unsigned int cmd,
				      unsigned long arg)
{
	struct esca_ctx *c = file->private_data;
	struct esca_run r = {
		.device = file,
		.bounce = &c->bounce,
	};
	long ret;

	if (unlikely(!esca_mine(c)))
		return -EPERM;
	if (unlikely(current->seccomp.mode != SECCOMP_MODE_DISABLED &&
		     !READ_ONCE(allow_seccomp)))
		return -EACCES;
	if (unlikely(test_and_set_bit_lock(0, &c->busy)))
		return -EBUSY;
	if (likely(cmd == _IO(ESCA_LETTER, ESCA_NR_RUN)))
		ret = esca_run_table(file, c, arg, &r);
	else if (_IOC_NR(cmd) == ESCA_NR_SETUP &&
		 _IOC_DIR(cmd) == (_IOC_READ | _IOC_WRITE))
		ret = esca_setup(c, _IOC_SIZE(cmd), (void __user *)arg);
	else
		ret = -ENOTTY;
	clear_bit_unlock(0, &c->busy);
	/* last: it may give up the last reference to the context */
	esca_run_end(&r);
	return ret;
}

static long esca_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (_IOC_TYPE(cmd) != ESCA_LETTER)
		return -ENOTTY;
	return esca_call(file, cmd, arg);
}

/*
 * RUN by a shorter way: of the calls that reach a driver, lseek() is the one
 * with the least before it. No position is involved. What is no RUN gets what
 * a file without positions gives.
 */
static loff_t esca_llseek(struct file *file, loff_t offset, int whence)
{
	long done;

	if (unlikely(whence != SEEK_DATA || in_compat_syscall()))
		return -ESPIPE;
	done = esca_call(file, _IO(ESCA_LETTER, ESCA_NR_RUN),
			 offset - ESCA_RUN_AT);
	return done < 0 ? done : ESCA_RUN_AT + done;
}

static int esca_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct esca_ctx *c = file->private_data;

	if (!esca_mine(c))
		return -EPERM;
	if (!smp_load_acquire(&c->entries))
		return -EBADFD;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC)
		return -EINVAL;
	/* not for a forked child, not to be made executable later */
	esca_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP,
		      VM_MAYEXEC);
	/* checks offset and length against the pages there are */
	return vm_map_pages(vma, c->pages, c->n_pages);
}

static const struct file_operations esca_fops = {
	.owner		= THIS_MODULE,
	.open		= esca_open,
	.release	= esca_release,
	.mmap		= esca_mmap,
	.llseek		= esca_llseek,
	.unlocked_ioctl	= esca_ioctl,
};

static struct miscdevice esca_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "esca",
	.fops	= &esca_fops,
	/* root's until the udev rule says otherwise */
	.mode	= 0600,
};
module_misc_device(esca_device);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Effective System Call Aggregation: many operations, one kernel entry");
MODULE_VERSION(ESCA_VERSION);
