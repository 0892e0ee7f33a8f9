/* A lease that the kernel holds: a timer of this process whose signal is SIGKILL, and a thread that moves it to the
   time in a shared page. The thread runs no Python, so that it goes on while other code holds the interpreter's lock.

   Neither the thread nor the timer is inherited by a process that this one forks. The thread lives as long as the
   process does. `actors/machines/lease_timer.py` has the twin in Python.
*/

#include "../transport/_common.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BILLION 1000000000ull

typedef struct {
    timer_t timer;
    const _Atomic uint64_t *until;  /* nanoseconds of CLOCK_BOOTTIME, written by the agent */
    struct timespec every;
} Lease;

/* A time of 0 would take the timer away: it means that there is no lease. */
static int
move_timer(Lease *lease)
{
    uint64_t until = atomic_load(lease->until);
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(until / BILLION), .tv_nsec = (long)(until % BILLION)}};
    if (until == 0) {
        when.it_value.tv_nsec = 1;
    }
    return timer_settime(lease->timer, TIMER_ABSTIME, &when, NULL);
}

static void *
keep_moving(void *given)
{
    for (;;) {
        Lease *lease = given;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &lease->every, NULL);
        move_timer(lease);
    }
    return NULL;
}

/* Signals of the process are for the threads of Python. */
static int
start_thread(Lease *lease)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, keep_moving, lease);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) {
        pthread_setname_np(thread, "actors lease");
        pthread_detach(thread);
    }
    return failed;
}

static int
begin(Lease *lease, int fd)
{
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    if (page == MAP_FAILED) {
        return errno;
    }
    lease->until = page;
    if (timer_create(CLOCK_BOOTTIME, &event, &lease->timer)) {
        return errno;
    }
    return move_timer(lease) ? errno : start_thread(lease);
}

static PyObject *
hold(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    double every;
    if (!PyArg_ParseTuple(args, "id:hold", &fd, &every)) {
        return NULL;
    }
    Lease *lease = calloc(1, sizeof(Lease));
    if (lease == NULL) {
        return PyErr_NoMemory();
    }
    lease->every.tv_sec = (time_t)every;
    lease->every.tv_nsec = (long)((every - (double)lease->every.tv_sec) * 1e9);
    errno = begin(lease, fd);
    if (errno) {
        return PyErr_SetFromErrno(PyExc_OSError); /* what was begun ends with the process, which cannot go on */
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"hold", hold, METH_VARARGS, "hold(fd, every): end this process when the time in the page at fd is over."},
    {NULL, NULL, 0, NULL},
};

EXTENSION(PyInit__lease_timer, add_checksum, "actors.machines._lease_timer", "A lease that the kernel holds.",
          .m_size = 0, .m_methods = functions)
