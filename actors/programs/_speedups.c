/* Starts a process, and lets other threads of this one run meanwhile.

`subprocess` holds the interpreter's lock from vfork until the new program begins. Here it is released, so that the
loop goes on and several programs start at once; and the process begins its life in its control group, which
costs nothing, where moving it there waits for all CPUs. What this cannot do, `spawn.py` does by `subprocess`.

The child shares the memory of this process until it executes, as after vfork: `child` may only call the kernel,
on a stack of its own, and nothing of libc that has a lock or works on all threads, as setuid does.
*/

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define SPAWNS 1
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if !defined(SYS_clone3)
#define SYS_clone3 435
#endif
#if !defined(SYS_close_range)
#define SYS_close_range 436
#endif

#define CLEAR_SIGHAND 0x100000000ULL
#define INTO_CGROUP 0x200000000ULL
#define STACK_SIZE 65536
#define KERNEL_SIGSET 8 /* bytes */

/* As the kernel has it: libc's <linux/sched.h> may be older. */
struct arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct job {
    char **paths, **argv, **env; /* each ends with NULL */
    const char *cwd;             /* or NULL */
    int files[3];                /* none of them below 3 */
    int as_other;                /* whether the next three are meant */
    uid_t user;
    gid_t group;
    gid_t *groups;
    size_t groups_count;
    uint64_t mask;       /* of signals, that this thread had */
    volatile int error;  /* of what the child could not do */
    volatile int in_cwd; /* whether that was to enter the folder */
};

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN __attribute__((no_sanitize("address", "undefined")))
#else
#define PLAIN
#endif

static PLAIN int
prepare(struct job *job)
{
    for (int number = 0; number < 3; number++)
        if (syscall(SYS_dup3, job->files[number], number, 0) < 0)
            return -1;
    if (job->cwd != NULL && syscall(SYS_chdir, job->cwd) < 0) {
        job->in_cwd = 1;
        return -1;
    }
    if (syscall(SYS_setsid) < 0)
        return -1;
    if (job->as_other
        && (syscall(SYS_setgroups, job->groups_count, job->groups) < 0
            || syscall(SYS_setresgid, job->group, job->group, job->group) < 0
            || syscall(SYS_setresuid, job->user, job->user, job->user) < 0))
        return -1;
    /* All of ours close by themselves; those of C libraries may not. The kernel is new enough: it knows clone3. */
    syscall(SYS_close_range, 3U, ~0U, 0U);
    return 0;
}

/* Handlers are gone already; what this process ignores, as Python does SIGPIPE, the program shall not. */
static PLAIN void
restore_signals(struct job *job)
{
    static const int ignored[] = {SIGPIPE, SIGXFSZ};
    uint64_t action[4] = {0, 0, 0, 0}; /* SIG_DFL, as the kernel has it */
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        syscall(SYS_rt_sigaction, ignored[i], action, NULL, KERNEL_SIGSET);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &job->mask, NULL, KERNEL_SIGSET);
}

static PLAIN __attribute__((noreturn, used)) void
child(struct job *job)
{
    restore_signals(job);
    if (prepare(job) == 0) {
        int kept = 0;
        for (char **path = job->paths; *path != NULL; path++) {
            syscall(SYS_execve, *path, job->argv, job->env);
            if (errno != ENOENT && errno != ENOTDIR && kept == 0)
                kept = errno;
        }
        job->error = kept ? kept : errno;
    }
    else
        job->error = errno;
    for (;;)
        syscall(SYS_exit_group, 127);
}

/* clone3 whose child calls `child(job)` on the stack of the arguments; returns its number, or minus the error. */
static __attribute__((noinline)) long
clone_into(struct arguments *arguments, struct job *job)
{
#if defined(__x86_64__)
    long result = SYS_clone3;
    register struct job *kept __asm__("r12") = job;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r12, %%rdi\n\t"
                     "callq *%[run]\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(result)
                     : "D"(arguments), "S"(sizeof *arguments), "r"(kept), [run] "r"(child)
                     : "rcx", "r11", "memory", "cc");
    return result;
#else
    register long result __asm__("x0") = (long)arguments;
    register long size __asm__("x1") = sizeof *arguments;
    register long number __asm__("x8") = SYS_clone3;
    register struct job *kept __asm__("x20") = job;
    register void (*run)(struct job *) __asm__("x21") = child;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x20\n\t"
                     "blr x21\n\t"
                     "brk 0\n"
                     "1:"
                     : "+r"(result)
                     : "r"(size), "r"(number), "r"(kept), "r"(run)
                     : "memory", "cc");
    return result;
#endif
}

/* Runs without the interpreter's lock. */
static long
start(struct job *job, int cgroup, int *pidfd)
{
    uint64_t all = ~(uint64_t)0;
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    struct arguments arguments = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLEAR_SIGHAND | (cgroup < 0 ? 0 : INTO_CGROUP),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = STACK_SIZE,
        .cgroup = cgroup < 0 ? 0 : (uint64_t)cgroup,
    };
    /* No handler may run in the child, on memory that is this process's. */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &job->mask, KERNEL_SIGSET);
    long pid = clone_into(&arguments, job);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &job->mask, NULL, KERNEL_SIGSET);
    munmap(stack, STACK_SIZE);
    if (pid > 0 && job->error) {
        syscall(SYS_wait4, (pid_t)pid, NULL, 0, NULL);
        close(*pidfd);
    }
    return pid;
}

/* The bytes of a tuple as texts of C with NULL at the end; they live as long as the tuple. */
static char **
texts(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    char **made = PyMem_New(char *, count + 1);
    if (made == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(tuple, i), &made[i], NULL) < 0) {
            PyMem_Free(made);
            return NULL;
        }
    made[count] = NULL;
    return made;
}

static int
take_account(struct job *job, PyObject *account)
{
    PyObject *groups;
    if (account == Py_None)
        return 0;
    if (!PyArg_ParseTuple(account, "IIO!", &job->user, &job->group, &PyTuple_Type, &groups))
        return -1;
    job->as_other = 1;
    job->groups_count = (size_t)PyTuple_GET_SIZE(groups);
    job->groups = PyMem_New(gid_t, job->groups_count + 1);
    if (job->groups == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < job->groups_count; i++)
        job->groups[i] = (gid_t)PyLong_AsUnsignedLong(PyTuple_GET_ITEM(groups, i));
    return PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(spawn_doc,
             "spawn(paths, argv, env, cwd, files, account, cgroup) -> (pid, pidfd, error, in_cwd)\n\n"
             "Start a process in a session of its own; all texts are bytes. The first of the paths that can be\n"
             "executed is. With an error there is none: pid is -1 if the kernel has refused to make one, else 0.");

static PyObject *
spawn(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *paths, *argv, *env, *cwd, *account, *result = NULL;
    struct job job = {0};
    int cgroup, pidfd = -1;
    long pid = 0;
    if (!PyArg_ParseTuple(args, "O!O!O!O(iii)Oi", &PyTuple_Type, &paths, &PyTuple_Type, &argv, &PyTuple_Type, &env,
                          &cwd, &job.files[0], &job.files[1], &job.files[2], &account, &cgroup))
        return NULL;
    if (cwd != Py_None && (job.cwd = PyBytes_AsString(cwd)) == NULL)
        return NULL;
    if ((job.paths = texts(paths)) != NULL && (job.argv = texts(argv)) != NULL && (job.env = texts(env)) != NULL
        && take_account(&job, account) == 0) {
        Py_BEGIN_ALLOW_THREADS;
        pid = start(&job, cgroup, &pidfd);
        Py_END_ALLOW_THREADS;
        if (pid < 0)
            result = Py_BuildValue("iiii", -1, -1, (int)-pid, 0);
        else if (job.error)
            result = Py_BuildValue("iiii", 0, -1, job.error, job.in_cwd);
        else
            result = Py_BuildValue("liii", pid, pidfd, 0, 0);
    }
    PyMem_Free(job.paths);
    PyMem_Free(job.argv);
    PyMem_Free(job.env);
    PyMem_Free(job.groups);
    return result;
}
#endif

static PyMethodDef methods[] = {
#ifdef SPAWNS
    {"spawn", spawn, METH_VARARGS, spawn_doc},
#endif
    {NULL, NULL, 0, NULL},
};

static int
add_constants(PyObject *module)
{
    return PyModule_AddStringConstant(module, "CHECKSUM", ACTORS_CHECKSUM);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "actors.programs._speedups",
    .m_doc = "Starts processes without the interpreter's lock.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
