/* What the C files of `_speedups` share: the state of the module, and what they have of each other. */

#ifndef ACTORS_ACTOR_SPEEDUPS_H
#define ACTORS_ACTOR_SPEEDUPS_H

#include "../transport/_common.h"

/* Length from which a text may have so many bytes that they count, as in byte_bound.py. */
#define TEXT_COUNTED_FROM (16 * 1024)

/* ------------------------------------------------------------ state of the module */

typedef struct {
    PyTypeObject *Ref, *Handler, *Envelope, *WaitQueue, *SenderTurns, *Mailbox, *Cell, *MessageLoop, *Stepper,
        *StepBudget, *RemoteActor, *Peer, *Link, *CreditReturn, *TellRun;
    Py_ssize_t ref_handlers, ref_target, ref_ask_timeout, ref_make_waiter;
    Py_ssize_t handler_fn, handler_plain, handler_steps, handler_least, handler_most;
    Py_ssize_t envelope_handler, envelope_args, envelope_kwargs, envelope_reply, envelope_deadline,
        envelope_hooks, envelope_request;
    Py_ssize_t queue_waiting, queue_turns;
    Py_ssize_t turns_held, turns_left, turns_me, turns_task;
    Py_ssize_t mailbox_queue, mailbox_limit, mailbox_waker, mailbox_wait_queue, mailbox_deferring;
    Py_ssize_t cell_mailbox, cell_draining, cell_incarnation;
    Py_ssize_t loop_halt, loop_handled, loop_actor, loop_current, loop_since, loop_stepper, loop_rest,
        loop_idleness, loop_cell, loop_left, loop_activity;
    Py_ssize_t stepper_budget, stepper_context, stepper_loop, stepper_task;
    Py_ssize_t budget_depth, budget_left, budget_spent;
    Py_ssize_t ref_uid, handler_name;
    Py_ssize_t remote_peer, remote_ref, remote_credit, remote_bytes, remote_wait_queue;
    Py_ssize_t peer_link, link_out, link_write, link_numbers, link_pending, link_simple_args;
    Py_ssize_t credit_taken, run_cell, run_credit, run_handlers, run_mailbox;
    /* What `bind` is given beside the classes. */
    PyObject *cell_twin, *snapshot_args, *sized, *answer, *rest, *set_awaited, *current_tasks, *swap_task,
        *current_task, *tell_twin, *ask_twin, *send_in_turn, *ask_when_room, *give_up, *refuse_in_turn, *turn, *fenced,
        *remote_twin, *tell_op, *ask_op;
    PyObject *deque, *deque_append, *deque_popleft;
    PyTypeObject *Suspended, *Reply, *Sending;
    PyObject *zero, *nothing;
    PyObject *no_keywords; /* of all messages without any, as that of the links: nobody writes to it */
    PyObject *n_append, *n_awaited, *n_cancelling, *n_deliver, *n_done, *n_handle_now, *n_message_loop, *n_on_taken,
        *n_open, *n_send, *n_send_when_room, *n_set_result, *n_take, *n_try_send, *n_popleft, *n_module, *numpy,
        *n_close, *n_throw, *n_set_exception, *n_cancelled, *n_congested, *n_run_of, *n_is_big;
} State;

static inline State *
state_of(PyObject *object)
{
    return PyType_GetModuleState(Py_TYPE(object));
}

/* A leaf that is never big, so that nothing is copied and nothing counted. */
static inline int
is_small_leaf(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type || type == &PyFloat_Type || type == &PyBool_Type || value == Py_None) {
        return 1;
    }
    return (type == &PyUnicode_Type && PyUnicode_GET_LENGTH(value) <= TEXT_COUNTED_FROM)
        || (type == &PyBytes_Type && PyBytes_GET_SIZE(value) <= TEXT_COUNTED_FROM);
}

static int
all_small_leaves(PyObject *values)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        if (!is_small_leaf(PyTuple_GET_ITEM(values, i))) {
            return 0;
        }
    }
    return 1;
}

/* _speedups.c */
PyObject *new_envelope(State *st, PyObject *handler, PyObject *args, PyObject *keywords, PyObject *reply);
int put_item(State *st, PyObject *mailbox, PyObject *item);
int never_big(State *st, PyObject *args);

/* _remote.c */
extern PyType_Slot remote_slots[], receiver_slots[];
int message_taken(State *st, PyObject *hooks);

#endif
