/* C twins of functions of this package; `actors/_extensions.py` says when they run, types/twins.py how they begin.

   The Python twin is the reference: same results, same errors. State belongs to the module, so that each
   sub-interpreter has its own; everything runs under the GIL of its interpreter.
*/

#include "_speedups.h"

/* all_leaves(values): whether the type of each of `values`, any iterable, is a leaf's. */
static PyObject *
all_leaves(PyObject *Py_UNUSED(module), PyObject *values)
{
    if (PyList_CheckExact(values) || PyTuple_CheckExact(values)) {
        PyObject **items = PySequence_Fast_ITEMS(values);
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(values); i++) {
            if (!is_leaf(items[i])) {
                Py_RETURN_FALSE;
            }
        }
        Py_RETURN_TRUE;
    }
    PyObject *iterator = PyObject_GetIter(values);
    if (iterator == NULL) {
        return NULL;
    }
    int found = 1;
    PyObject *value;
    while (found && (value = PyIter_Next(iterator)) != NULL) {
        found = is_leaf(value);
        Py_DECREF(value);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(found);
}

/* prepare(snapshot, snapshot_args, timezone, ext_type): two twins and two classes. */
static PyObject *
prepare(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *one, *all, *timezone, *ext_type;
    if (!PyArg_ParseTuple(args, "OOO!O!", &one, &all, &PyType_Type, &timezone, &PyType_Type, &ext_type)) {
        return NULL;
    }
    Py_XSETREF(state->snapshot, Py_NewRef(one));
    Py_XSETREF(state->snapshot_args, Py_NewRef(all));
    Py_XSETREF(state->timezone, Py_NewRef(timezone));
    Py_XSETREF(state->ext_type, Py_NewRef(ext_type));
    Py_RETURN_NONE;
}

static const Place places[] = {
    PLACE(ThreadChannel, "_closed", channel_closed),
    PLACE(ThreadChannel, "congested", channel_congested),
    PLACE(ThreadChannel, "_inbound", channel_inbound),
    PLACE(ThreadChannel, "_outbound", channel_outbound),
    PLACE(ThreadChannel, "_sent", channel_sent),
    PLACE(ThreadChannel, "_most", channel_most),
    PLACE(ThreadChannel, "_high", channel_high),
    PLACE(ThreadChannel, "_shared_from", channel_shared_from),
    PLACE(OneWayQueue, "lanes", queue_lanes),
    PLACE(OneWayQueue, "receiver_awake", queue_awake),
    PLACE(OneWayQueue, "sent", queue_sent),
    PLACE(OneWayQueue, "taken", queue_taken),
    PLACE(OneWayQueue, "bell", queue_bell),
};

static const Name given[] = {NAME(channel_twin), NAME(by_reference)};

static PyObject *
bind(PyObject *module, PyObject *args, PyObject *keywords)
{
    return bind_all(PyModule_GetState(module), args, keywords, places, COUNT(places), given, COUNT(given));
}

static PyMethodDef functions[] = {
    {"all_leaves", all_leaves, METH_O, "Whether the type of each value is a leaf's."},
    {"snapshot", (PyCFunction)(void (*)(void))snapshot, METH_FASTCALL, "See codec/snapshot.py."},
    {"snapshot_args", (PyCFunction)(void (*)(void))snapshot_args, METH_FASTCALL, "See codec/snapshot.py."},
    {"bind", (PyCFunction)(void (*)(void))bind, METH_VARARGS | METH_KEYWORDS,
     "Note where the slots of classes are, and what is used beside them."},
    {"copy_all", copy_all, METH_O, "A list of copies of some values, or None: it is left to the twin."},
    {"copy_args", copy_args, METH_O, "A tuple of copies of some arguments, or None: as `copy_all`."},
    {"take_queued", (PyCFunction)(void (*)(void))take_queued, METH_FASTCALL, "See channels/thread_channel.py."},
    {"pack", (PyCFunction)(void (*)(void))pack, METH_FASTCALL, "The bytes of a message."},
    {"prepare", prepare, METH_VARARGS, "Hand over twins and classes."},
    {NULL, NULL, 0, NULL},
};

/* The numbers that types/tags.py has, too, for a test that compares them. */
static int
add_numbers(PyObject *module)
{
    return PyModule_AddIntMacro(module, TAG_TUPLE) || PyModule_AddIntMacro(module, TAG_SET)
        || PyModule_AddIntMacro(module, TAG_FROZENSET) || PyModule_AddIntMacro(module, TAG_BYTEARRAY)
        || PyModule_AddIntMacro(module, TAG_BIG_INT) || PyModule_AddIntMacro(module, TAG_DICT)
        || PyModule_AddIntMacro(module, TAG_ENUM) || PyModule_AddIntMacro(module, TAG_INSTANCE)
        || PyModule_AddIntMacro(module, TAG_NAMEDTUPLE) || PyModule_AddIntMacro(module, DEEPEST);
}

static const Name objects[] = {
    NAME(plan_type), NAME(packed_value_type), NAME(packer_type), NAME(unpacker_type), NAME(plans), NAME(ext_type),
    NAME(empty), NAME(timezone), NAME(snapshot), NAME(snapshot_args), NAME(ThreadChannel), NAME(OneWayQueue),
    NAME(channel_twin), NAME(by_reference), NAME(bell_type), NAME(deque), NAME(append), NAME(popleft),
};

static const Name texts[] = {
    NAME(tzinfo), NAME(send), {"_name_", offsetof(State, name)}, {"_wake_receiver", offsetof(State, wake_receiver)},
};

/* The class of queues, and its methods. */
static int
find_deque(State *state)
{
    PyObject *collections = PyImport_ImportModule("collections");
    state->deque = collections == NULL ? NULL : PyObject_GetAttrString(collections, "deque");
    Py_XDECREF(collections);
    if (state->deque == NULL || (state->append = PyObject_GetAttrString(state->deque, "append")) == NULL) {
        return -1;
    }
    state->popleft = PyObject_GetAttrString(state->deque, "popleft");
    return state->popleft == NULL ? -1 : 0;
}

static int
start(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->snapshot = Py_NewRef(Py_None);
    state->snapshot_args = Py_NewRef(Py_None);
    state->timezone = Py_NewRef(Py_None);
    state->ext_type = Py_NewRef(Py_None);
    PyType_Spec *specs[] = {&plan_spec, &packed_value_spec, &packer_spec, &unpacker_spec, &bell_spec};
    PyTypeObject **types[] = {&state->plan_type, &state->packed_value_type, &state->packer_type, &state->unpacker_type,
                              &state->bell_type};
    for (size_t i = 0; i < COUNT(specs); i++) {
        PyTypeObject *type = add_type(module, specs[i]);
        if (type == NULL) {
            return -1;
        }
        *types[i] = (PyTypeObject *)Py_NewRef(type);
    }
    if (find_deque(state) < 0 || add_methods(module, "actors.transport._speedups.ThreadChannelMethods", thread_channel_slots) < 0
        || add_numbers(module) || intern(state, texts, COUNT(texts)) < 0 || (state->plans = PyDict_New()) == NULL
        || PyModule_AddObjectRef(module, "plans", state->plans) < 0 || (state->empty = PyTuple_New(0)) == NULL) {
        return -1;
    }
    return add_checksum(module);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    return visit_all(PyModule_GetState(module), objects, COUNT(objects), visit, arg);
}

static int
clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    clear_all(state, objects, COUNT(objects));
    clear_all(state, texts, COUNT(texts));
    return 0;
}

static void
end(void *module)
{
    clear(module);
}

EXTENSION(PyInit__speedups, start, "actors.transport._speedups", "C twins of functions of actors.transport.",
          .m_size = sizeof(State), .m_methods = functions, .m_traverse = traverse, .m_clear = clear, .m_free = end)
