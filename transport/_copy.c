/* The twin of codec/snapshot.py: copies of values within one process. */

#include "_speedups.h"

#define MOST_FIELDS 64 /* of an instance that is copied here, as in types/instances.py */

static int
all_leaves_among(PyObject **items, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!is_leaf(items[i])) {
            return 0;
        }
    }
    return 1;
}

/* Whether a value is its own copy; 0 also when that cannot be told here. */
static int
is_unchanging(State *state, PyObject *value, int depth)
{
    if (is_leaf(value)) {
        return 1;
    }
    PyObject *copied = copy_value(state, value, depth);
    Py_XDECREF(copied);
    return copied == value;
}

static PyObject *
copy_list(State *state, PyObject *value, int depth)
{
    PyObject *copied = PyList_GetSlice(value, 0, PyList_GET_SIZE(value));
    if (copied == NULL) {
        return give_up();
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(copied); i++) {
        PyObject *item = PyList_GET_ITEM(copied, i);
        if (is_leaf(item)) {
            continue;
        }
        Py_INCREF(item);
        PyObject *own = copy_value(state, item, depth + 1);
        Py_DECREF(item);
        if (own == NULL || PyList_SetItem(copied, i, own) < 0) {
            Py_DECREF(copied);
            return give_up();
        }
    }
    return copied;
}

/* A tuple of the items of another, of which one is replaced; it takes the reference to that. */
static PyObject *
tuple_with(PyObject *value, Py_ssize_t at, PyObject *own)
{
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    PyObject *copied = PyTuple_New(count);
    if (copied == NULL) {
        Py_DECREF(own);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(copied, i, i == at ? own : Py_NewRef(PyTuple_GET_ITEM(value, i)));
    }
    return copied;
}

/* Of a tuple, or of a named tuple, whose copy is a plain tuple then; the value itself if no item changes. */
static PyObject *
copy_tuple(State *state, PyObject *value, int depth)
{
    PyObject *copied = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); i++) {
        PyObject *item = PyTuple_GET_ITEM(value, i);
        if (is_leaf(item)) {
            continue;
        }
        PyObject *own = copy_value(state, item, depth + 1);
        if (own == NULL) {
            Py_XDECREF(copied);
            return give_up();
        }
        if (own == item) {
            Py_DECREF(own);
        }
        else if (copied == NULL) {
            copied = tuple_with(value, i, own);
            if (copied == NULL) {
                return give_up();
            }
        }
        else {
            PyTuple_SET_ITEM(copied, i, own);
            Py_DECREF(item); /* that of the copy; the value has one of its own */
        }
    }
    return copied ? copied : Py_NewRef(value);
}

static PyObject *
copy_dict(State *state, PyObject *value, int depth)
{
    PyObject *copied = PyDict_Copy(value);
    if (copied == NULL) {
        return give_up();
    }
    Py_ssize_t position = 0;
    PyObject *key, *item;
    while (PyDict_Next(copied, &position, &key, &item)) {
        if (is_leaf(item) && is_leaf(key)) {
            continue;
        }
        int done = 0;
        PyObject *own = NULL;
        Py_INCREF(key);
        Py_INCREF(item);
        if (is_unchanging(state, key, depth + 1)) {
            own = copy_value(state, item, depth + 1);
            /* The key is there: that replaces an item, and moves none. */
            done = own != NULL && (own == item || PyDict_SetItem(copied, key, own) == 0);
        }
        Py_XDECREF(own);
        Py_DECREF(key);
        Py_DECREF(item);
        if (!done) {
            Py_DECREF(copied);
            return give_up();
        }
    }
    return copied;
}

/* Of a set or a frozenset whose members are their own copies. */
static PyObject *
copy_set(State *state, PyObject *value, int depth)
{
    PyObject *members = PyObject_GetIter(value);
    if (members == NULL) {
        return give_up();
    }
    int unchanging = 1;
    PyObject *member;
    while (unchanging && (member = PyIter_Next(members)) != NULL) {
        unchanging = is_unchanging(state, member, depth + 1);
        Py_DECREF(member);
    }
    Py_DECREF(members);
    if (!unchanging || PyErr_Occurred()) {
        return give_up();
    }
    if (PyFrozenSet_CheckExact(value)) {
        return Py_NewRef(value);
    }
    PyObject *copied = PySet_New(value);
    return copied ? copied : give_up();
}

static PyObject *
copy_instance(State *state, Plan *plan, PyObject *value, int depth)
{
    PyObject *values[MOST_FIELDS];
    if (plan->count > MOST_FIELDS || !read_fields(plan, value, values)) {
        return NULL;
    }
    int failed = 0, changed = 0;
    for (Py_ssize_t i = 0; !failed && i < plan->count; i++) {
        if (is_leaf(values[i])) {
            continue;
        }
        PyObject *own = copy_value(state, values[i], depth + 1);
        failed = own == NULL;
        changed |= own != values[i];
        if (own != NULL) {
            Py_SETREF(values[i], own);
        }
    }
    PyObject *copied = NULL;
    if (!failed) {
        copied = plan->immutable && !changed ? Py_NewRef(value) : build_instance(state, plan, values);
    }
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        Py_DECREF(values[i]);
    }
    return copied;
}

static PyObject *
copy_namedtuple(State *state, Plan *plan, PyObject *value, int depth)
{
    if (all_leaves_among(((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value))) {
        return Py_NewRef(value);
    }
    PyObject *values = copy_tuple(state, value, depth);
    if (values == NULL || values == value) {
        return values;
    }
    PyObject *copied = PyTuple_GET_SIZE(values) == plan->count ? build_namedtuple(plan, values) : NULL;
    Py_DECREF(values);
    return copied;
}

static PyObject *
copy_zoned(State *state, PyObject *value)
{
    PyObject *zone = PyObject_GetAttr(value, state->tzinfo);
    if (zone == NULL) {
        return give_up();
    }
    int fixed = zone == Py_None || (PyObject *)Py_TYPE(zone) == state->timezone;
    Py_DECREF(zone);
    return fixed ? Py_NewRef(value) : NULL;
}

static PyObject *
copy_planned(State *state, PyObject *value, int depth)
{
    PyObject *known = PyDict_GetItemWithError(state->plans, (PyObject *)Py_TYPE(value));
    if (known == NULL || !Py_IS_TYPE(known, state->plan_type)) {
        return give_up();
    }
    Plan *plan = (Plan *)known;
    PyObject *copied = NULL;
    Py_INCREF(plan);
    switch (plan->kind) {
    case PLAN_SAME:
    case PLAN_ENUM:
        copied = Py_NewRef(value);
        break;
    case PLAN_ZONED:
        copied = copy_zoned(state, value);
        break;
    case PLAN_FIELDS:
        copied = copy_instance(state, plan, value, depth);
        break;
    case PLAN_NAMEDTUPLE:
        copied = copy_namedtuple(state, plan, value, depth);
        break;
    }
    Py_DECREF(plan);
    return copied;
}

/* A copy of a value, or NULL: it gives up. */
PyObject *
copy_value(State *state, PyObject *value, int depth)
{
    if (is_leaf(value)) {
        return Py_NewRef(value);
    }
    if (depth > DEEPEST) {
        return NULL;
    }
    if (PyDict_CheckExact(value)) {
        return copy_dict(state, value, depth);
    }
    if (PyList_CheckExact(value)) {
        return copy_list(state, value, depth);
    }
    if (PyTuple_CheckExact(value)) {
        return copy_tuple(state, value, depth);
    }
    if (PyAnySet_CheckExact(value)) {
        return copy_set(state, value, depth);
    }
    return copy_planned(state, value, depth);
}

/* snapshot(value, root="value") */
PyObject *
snapshot(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = PyModule_GetState(module);
    if (count == 1 || count == 2) {
        PyObject *copied = copy_value(state, args[0], 0);
        if (copied != NULL) {
            return copied;
        }
    }
    return PyObject_Vectorcall(state->snapshot, args, count, NULL);
}

/* snapshot_args(args, kwargs) */
PyObject *
snapshot_args(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = PyModule_GetState(module);
    if (count == 2 && PyTuple_CheckExact(args[0]) && PyDict_CheckExact(args[1])) {
        PyObject *positional = copy_tuple(state, args[0], 0);
        PyObject *keywords = NULL;
        if (positional != NULL) {
            keywords = PyDict_GET_SIZE(args[1]) ? copy_dict(state, args[1], 0) : Py_NewRef(args[1]);
        }
        if (keywords != NULL) {
            PyObject *both = PyTuple_Pack(2, positional, keywords);
            Py_DECREF(positional);
            Py_DECREF(keywords);
            return both;
        }
        Py_XDECREF(positional);
    }
    return PyObject_Vectorcall(state->snapshot_args, args, count, NULL);
}

/* copy_args(args): a tuple of the copies of some arguments, or None. */
PyObject *
copy_args(PyObject *module, PyObject *args)
{
    PyObject *copied = PyTuple_CheckExact(args) ? copy_tuple(PyModule_GetState(module), args, 0) : NULL;
    if (copied == NULL) {
        Py_RETURN_NONE;
    }
    return copied;
}

/* copy_all(values): a list of the copies of some values, or None. */
PyObject *
copy_all(PyObject *module, PyObject *values)
{
    State *state = PyModule_GetState(module);
    PyObject *originals = PySequence_List(values);
    if (originals == NULL) {
        return NULL;
    }
    PyObject *copied = copy_list(state, originals, 0);
    Py_DECREF(originals);
    if (copied == NULL) {
        Py_RETURN_NONE;
    }
    return copied;
}
