/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What glue.c, ops.c and the Rust side (src/glue.rs) know of each other. */
#ifndef ESCA_GLUE_H
#define ESCA_GLUE_H

#include <linux/types.h>

struct file;

/* crates/abi/src/device.rs */
#define ESCA_LETTER	0xEA
#define ESCA_NR_SETUP	0
#define ESCA_NR_RUN	1
#define ESCA_ENTRY	64
#define ESCA_RUN_AT	0x4553434100000000LL

struct esca_setup {
	u32 version;
	u32 flags;
	u32 entries;
	u32 entry_size;
	u64 opcodes;
	u32 op_flags;
	u32 max_entries;
};

/* crates/abi/src/op.rs */
#define ESCA_OP_SHUTDOWN	10
#define ESCA_OP_SETSOCKOPT	12
#define ESCA_OPCODES		13
#define ESCA_COPY_MAX		(64 * 1024)

/* State of one run; lives on the stack of the ioctl. */
struct esca_run {
	/* the file of the entry before, with a reference; see esca_file() */
	struct file *file;
	int fd;
	/* the device's own file is held: an entry may close its descriptor */
	bool pinned;
	struct file *device;
	/* a kernel buffer of ESCA_COPY_MAX bytes that stays with the context */
	void **bounce;
};

/* ops.c */
extern bool esca_allow_unhooked;
void esca_run_end(struct esca_run *r);

/* src/glue.rs */
s64 esca_rs_run(void *table, u32 n, struct esca_run *r,
		const unsigned long *word, unsigned long mask);
int esca_rs_setup(struct esca_setup *ask, u64 opcodes);

/* for src/glue.rs, in ops.c */
s64 esca_glue_send(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags);
s64 esca_glue_sendmsg(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags,
		      u64 *want);
s64 esca_glue_write(struct esca_run *r, int fd, u64 ptr, u64 len);
s64 esca_glue_writev(struct esca_run *r, int fd, u64 ptr, u64 len, u64 *want);
s64 esca_glue_sendfile(struct esca_run *r, int out, int in, bool own, u64 off,
		       u64 len, u32 flags);
s64 esca_glue_sendfile_copy(struct esca_run *r, int out, int in, u64 off,
			    u64 len, u32 flags);
s64 esca_glue_recv(struct esca_run *r, int fd, u64 ptr, u64 len, u32 flags);
s64 esca_glue_read(struct esca_run *r, int fd, u64 ptr, u64 len, bool at,
		   u64 off);
s64 esca_glue_shutdown(struct esca_run *r, int fd, int how);
s64 esca_glue_close(struct esca_run *r, int fd);
s64 esca_glue_setsockopt(struct esca_run *r, int fd, int level, int name,
			 u64 value, u32 len);
bool esca_glue_pause(void);

#endif
