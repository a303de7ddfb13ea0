/*
 * esca.h - explicit segments: a program says itself which system calls belong
 * together, and gets each one's own result.
 *
 * ESCA (Effective System Call Aggregation) finds segments by itself in an
 * unmodified event-driven program; nothing here is needed for that. These are
 * the calls of the published ESCA - esca_init, batch_start, batch_flush - for
 * programs that were written for it or that know better, and esca_results,
 * which the published ESCA lacks.
 *
 * Link with -lshim. Under libesca_preload.so (LD_PRELOAD, `esca run`) that
 * library's definitions come first and do the work; without it libshim.so
 * answers: every call then happens at once, exactly as written, and there are
 * no results to fetch. So one binary runs with ESCA and without. The
 * declarations are those of the published header, beside which this one may be
 * included, in either order.
 *
 * With ESCA_POLICY=off, and with `watch`, every call happens at once in
 * segments too, as with libshim.so alone.
 *
 *     batch_start(3);
 *     write(a, head, n);              // kept: returns n
 *     sendfile(a, file, &off, len);   // kept: returns len, off is advanced
 *     write(b, other, m);             // kept: returns m
 *     batch_flush();                  // now the kernel has all three
 *
 *     struct esca_result r[3];
 *     long n = esca_results(r, 3);    // what became of each
 *
 * Inside a segment the usual contract holds (docs/semantics.md): the order on
 * each stream is exact; a kept write has copied its bytes, so the buffer may
 * be reused at once; what ESCA does not understand goes straight to the
 * kernel, after what it could depend on. A call that may block or end the
 * process (a wait, a sleep, fork, exec, exit) hands everything kept to the
 * kernel first; the segment stays open and the results are still recorded.
 *
 * A segment belongs to the thread that opened it. Other threads are not
 * affected, and may have segments of their own.
 */
#ifndef ESCA_H
#define ESCA_H

#ifdef __cplusplus
extern "C" {
#endif

/* What a recorded operation was. More may be added: skip what you do not
 * know. */
enum esca_op {
    ESCA_OP_WRITE = 1,    /* write, writev, send, sendto, sendmsg */
    ESCA_OP_SENDFILE = 2, /* sendfile, sendfile64 */
    ESCA_OP_SHUTDOWN = 3, /* shutdown */
    ESCA_OP_CLOSE = 4     /* close */
};

/* What became of one operation of a segment. */
struct esca_result {
    int fd;      /* the descriptor, by the number it had when called */
    int op;      /* an enum esca_op */
    long result; /* bytes that the kernel took at the flush (0 for shutdown
                  * and close), or minus an errno value.
                  *
                  * Fewer bytes than the call returned is no failure: the
                  * kernel took less (the machine is short of socket memory),
                  * the rest stays with ESCA and follows. A failure also
                  * shows at the next call on the descriptor, in SO_ERROR and
                  * in epoll, as errors of asynchronous sends always do. */
};

/*
 * Makes ESCA ready in this process. May be called any number of times, from
 * any thread; batch_start does it where it has not been done. A process that
 * has not yet waited for events is otherwise left alone by ESCA.
 *
 * Returns 0, or -1 with errno ENOSYS where the preload library is there and
 * cannot work: a setuid program, no memory, a program that filters its own
 * system calls, a library after it that interposes the calls that send. The program runs all the same, as without ESCA.
 */
long esca_init(void);

/*
 * Opens a segment on the calling thread: from here to batch_flush the stream
 * operations of this thread are kept, for all streams together (as in policy
 * `batch`). Where one is open already, what it kept goes to the kernel and a
 * new one begins: segments do not nest, and one batch_flush ends the last.
 *
 * `events` is a hint of how many operations follow (the published ESCA gives
 * the number of ready events here); 0 when unknown. Exceeding it is fine, and
 * so is any other value: programs that declare `long batch_start();` may leave
 * the argument out.
 *
 * Returns 0.
 */
long batch_start(int events);

/*
 * Closes the calling thread's segment and hands everything in it to the
 * kernel, without blocking. The results can be fetched with esca_results from
 * then on.
 *
 * Returns the number of operations recorded in the segment: 0 when nothing
 * was kept or no segment is open, and always 0 without ESCA.
 */
long batch_flush(void);

/*
 * Copies the results of the calling thread's last flushed segment to `out`,
 * in program order, `n` at most. They stay until this thread's next
 * batch_start, so they can be fetched again.
 *
 * Returns how many were copied; 0 without ESCA. With `out` null or `n` 0
 * nothing is copied and the number that there is is returned.
 */
long esca_results(struct esca_result *out, unsigned long n);

#ifdef __cplusplus
}
#endif

#endif /* ESCA_H */
