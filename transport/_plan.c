/* Plans: how to copy, read and build the instances of one class without calling code of that class. */

#include "_speedups.h"
#include <structmember.h>

#ifndef Py_T_OBJECT_EX
#define Py_T_OBJECT_EX T_OBJECT_EX
#endif

/* Where the slot of a member descriptor is, or -1 if it is no slot that instances of the class have. */
static Py_ssize_t
slot_offset(PyTypeObject *cls, PyObject *descriptor)
{
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        return -1;
    }
    PyMemberDescrObject *member = (PyMemberDescrObject *)descriptor;
    if (!PyType_IsSubtype(cls, PyDescr_TYPE(member)) || member->d_member->type != Py_T_OBJECT_EX
        || member->d_member->flags != 0) {
        return -1;
    }
    return member->d_member->offset;
}

/* Whether `object.__new__` makes instances of a class: all that it inherits from is written in Python. */
static int
is_made_by_object(PyTypeObject *cls)
{
    while (cls != &PyBaseObject_Type) {
        if (cls == NULL || !(cls->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
            return 0;
        }
        cls = cls->tp_base;
    }
    return 1;
}

static int
set_offsets(Plan *plan, PyObject *slots)
{
    if (!PyTuple_CheckExact(slots) || PyTuple_GET_SIZE(slots) != plan->count) {
        PyErr_SetString(PyExc_TypeError, "slots must be a tuple with a descriptor for each field");
        return -1;
    }
    plan->offsets = PyMem_New(Py_ssize_t, plan->count ? plan->count : 1);
    if (plan->offsets == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        plan->offsets[i] = slot_offset(plan->cls, PyTuple_GET_ITEM(slots, i));
        if (plan->offsets[i] <= 0) {
            PyErr_SetString(PyExc_TypeError, "these are no slots of the class");
            return -1;
        }
    }
    return 0;
}

static int
check_plan(Plan *plan, PyObject *slots)
{
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(plan->fields, i))) {
            PyErr_SetString(PyExc_TypeError, "fields must be texts");
            return -1;
        }
    }
    if (plan->kind == PLAN_NAMEDTUPLE
        && (!PyType_IsSubtype(plan->cls, &PyTuple_Type) || plan->cls->tp_dictoffset
            || plan->cls->tp_iter != PyTuple_Type.tp_iter)) {
        PyErr_SetString(PyExc_TypeError, "it is no plain named tuple");
        return -1;
    }
    if (plan->kind != PLAN_FIELDS) {
        return 0;
    }
    if (!is_made_by_object(plan->cls) || plan->cls->tp_getattro != PyObject_GenericGetAttr) {
        PyErr_SetString(PyExc_TypeError, "instances of the class are no plain objects");
        return -1;
    }
    if (slots != Py_None) {
        return set_offsets(plan, slots);
    }
    if (plan->cls->tp_dictoffset == 0) {
        PyErr_SetString(PyExc_TypeError, "instances of the class have neither slots nor a __dict__");
        return -1;
    }
    return 0;
}

/* Plan(kind, cls, fields, slots, immutable) */
static PyObject *
plan_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    int kind, immutable;
    PyObject *cls, *fields, *slots;
    if (!PyArg_ParseTuple(args, "iO!O!Op", &kind, &PyType_Type, &cls, &PyTuple_Type, &fields, &slots,
                          &immutable)) {
        return NULL;
    }
    if (kind < PLAN_SAME || kind > PLAN_ENUM) {
        return PyErr_Format(PyExc_ValueError, "there is no kind %d", kind);
    }
    Plan *plan = (Plan *)type->tp_alloc(type, 0);
    if (plan == NULL) {
        return NULL;
    }
    plan->kind = kind;
    plan->immutable = immutable;
    plan->cls = (PyTypeObject *)Py_NewRef(cls);
    plan->fields = Py_NewRef(fields);
    plan->count = PyTuple_GET_SIZE(fields);
    if (check_plan(plan, slots) < 0) {
        Py_DECREF(plan);
        return NULL;
    }
    return (PyObject *)plan;
}

static int
plan_traverse(PyObject *self, visitproc visit, void *arg)
{
    Plan *plan = (Plan *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(plan->cls);
    Py_VISIT(plan->fields);
    return 0;
}

static void
plan_dealloc(PyObject *self)
{
    Plan *plan = (Plan *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(plan->cls);
    Py_CLEAR(plan->fields);
    PyMem_Free(plan->offsets);
    type->tp_free(self);
    Py_DECREF(type);
}

/* A plan never changes: a cycle with its class is broken at the class, or at the table that holds it. */
static PyType_Slot plan_slots[] = {
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_traverse, plan_traverse},
    {Py_tp_doc, "How to copy, read and build the instances of a class."},
    {0, NULL},
};

PyType_Spec plan_spec = {
    .name = "actors.transport._speedups.Plan",
    .basicsize = sizeof(Plan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = plan_slots,
};

static int
read_slots(Plan *plan, PyObject *instance, PyObject **values)
{
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        PyObject *value = *(PyObject **)((char *)instance + plan->offsets[i]);
        if (value == NULL) {
            while (i > 0) {
                Py_DECREF(values[--i]);
            }
            return 0;
        }
        values[i] = Py_NewRef(value);
    }
    return 1;
}

static int
is_same_text(PyObject *one, PyObject *other)
{
    return one == other || (PyUnicode_CheckExact(one) && PyUnicode_Compare(one, other) == 0);
}

static int
read_attributes(Plan *plan, PyObject *instance, PyObject **values)
{
    PyObject *attributes = PyObject_GenericGetDict(instance, NULL);
    if (attributes == NULL || !PyDict_CheckExact(attributes) || PyDict_GET_SIZE(attributes) != plan->count) {
        Py_XDECREF(attributes);
        PyErr_Clear();
        return 0;
    }
    Py_ssize_t position = 0, read = 0;
    PyObject *name, *value;
    while (read < plan->count && PyDict_Next(attributes, &position, &name, &value)
           && is_same_text(name, PyTuple_GET_ITEM(plan->fields, read))) {
        values[read++] = Py_NewRef(value);
    }
    Py_DECREF(attributes);
    if (read == plan->count) {
        return 1;
    }
    while (read > 0) {
        Py_DECREF(values[--read]);
    }
    return 0;
}

int
read_fields(Plan *plan, PyObject *instance, PyObject **values)
{
    if (plan->cls->tp_getattro != PyObject_GenericGetAttr) {
        return 0;
    }
    return plan->offsets ? read_slots(plan, instance, values) : read_attributes(plan, instance, values);
}

static int
set_attributes(Plan *plan, PyObject *instance, PyObject **values)
{
    PyObject *attributes = PyObject_GenericGetDict(instance, NULL);
    if (attributes == NULL) {
        return -1;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < plan->count; i++) {
        failed = PyDict_SetItem(attributes, PyTuple_GET_ITEM(plan->fields, i), values[i]);
    }
    Py_DECREF(attributes);
    return failed;
}

PyObject *
build_instance(State *state, Plan *plan, PyObject **values)
{
    PyObject *instance = PyBaseObject_Type.tp_new(plan->cls, state->empty, NULL);
    if (instance == NULL) {
        return give_up();
    }
    if (plan->offsets == NULL) {
        if (set_attributes(plan, instance, values) < 0) {
            Py_DECREF(instance);
            return give_up();
        }
        return instance;
    }
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        PyObject **slot = (PyObject **)((char *)instance + plan->offsets[i]);
        Py_XSETREF(*slot, Py_NewRef(values[i]));
    }
    return instance;
}

PyObject *
build_namedtuple(Plan *plan, PyObject *values)
{
    PyObject *args = PyTuple_Pack(1, values);
    if (args == NULL) {
        return give_up();
    }
    PyObject *made = PyTuple_Type.tp_new(plan->cls, args, NULL);
    Py_DECREF(args);
    return made ? made : give_up();
}
