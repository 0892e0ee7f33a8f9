/* What the C extensions have in common: slots of Python classes, errors, calls, tables of names, and the module's set-up.

   An extension begins by `EXTENSION` at its end. Its state is a struct of its own, which belongs to the module, so
   that each sub-interpreter has one.
*/

#ifndef ACTORS_TRANSPORT_COMMON_H
#define ACTORS_TRANSPORT_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>
#include <sys/resource.h>
#include <time.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* A method that gets the type that defines it, and so the state of its module, whatever is derived from it. */
#define METHOD(name, function, doc) \
    {name, (PyCFunction)(void (*)(void))function, METH_METHOD | METH_FASTCALL | METH_KEYWORDS, doc}

/* ------------------------------------------------------------ slots of Python classes */

static inline PyObject *
get(PyObject *object, Py_ssize_t at)
{
    return *(PyObject **)((char *)object + at);
}

static inline void
put(PyObject *object, Py_ssize_t at, PyObject *value)
{
    PyObject **place = (PyObject **)((char *)object + at);
    PyObject *before = *place;
    *place = Py_NewRef(value);
    Py_XDECREF(before);
}

static inline int
put_new(PyObject *object, Py_ssize_t at, PyObject *value)
{
    if (value == NULL) {
        return -1;
    }
    put(object, at, value);
    Py_DECREF(value);
    return 0;
}

static inline long
number_at(PyObject *object, Py_ssize_t at)
{
    PyObject *value = get(object, at);
    return value == NULL ? -1 : PyLong_AsLong(value);
}

/* Whether `object`, which may be missing, is of a class that `bind` knows, so that its slots can be read. */
static inline int
is_a(PyObject *object, PyTypeObject *type)
{
    return object != NULL && type != NULL && (Py_TYPE(object) == type || PyType_IsSubtype(Py_TYPE(object), type));
}

/* ------------------------------------------------------------ errors and calls */

static inline PyObject *
not_bound(const char *what)
{
    PyErr_Format(PyExc_TypeError, "%s is not of the class that has its C twin", what);
    return NULL;
}

/* The exception that is being raised, which no longer is. */
static inline PyObject *
take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL && value != NULL) {
        PyException_SetTraceback(value, trace);
    }
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}

static inline void
raise_again(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

static inline PyObject *
call_method(PyObject *object, PyObject *name)
{
    return PyObject_VectorcallMethod(name, &object, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline PyObject *
call_method_with(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *arguments[] = {object, argument};
    return PyObject_VectorcallMethod(name, arguments, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* Truth of what a method returns; -1 with an error. */
static inline int
is_true(PyObject *answer)
{
    if (answer == NULL) {
        return -1;
    }
    int truth = answer == Py_True ? 1 : answer == Py_False ? 0 : PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return truth;
}

/* What a Python twin returns: method `name` of `twin` for `arguments`, the first of which is the object. */
static inline PyObject *
by_twin(PyObject *twin, PyObject *name, PyObject *const *arguments, Py_ssize_t count)
{
    if (twin == NULL) {
        return not_bound("this object");
    }
    PyObject *function = PyObject_GetAttr(twin, name);
    if (function == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(function, arguments, count, NULL);
    Py_DECREF(function);
    return result;
}

/* ------------------------------------------------------------ looking on for a moment */

static inline uint64_t
nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* preemptions(): how often this thread has lost its CPU to another one that wanted it, so far. */
static inline PyObject *
preemptions(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(none))
{
    long count = 0;
#ifdef RUSAGE_THREAD
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) == 0) {
        count = usage.ru_nivcsw;
    }
#endif
    return PyLong_FromLong(count);
}

/* ------------------------------------------------------------ tables of a state */

/* A slot of a Python class: where a state has the class, and where it notes the place of the slot. */
typedef struct {
    const char *type, *slot;
    size_t type_at, at;
} Place;

#define PLACE(type, slot, at) {#type, slot, offsetof(State, type), offsetof(State, at)}

/* An object of a state, by its name. */
typedef struct {
    const char *name;
    size_t at;
} Name;

#define NAME(name) {#name, offsetof(State, name)}

static inline PyObject **
object_at(void *state, size_t at)
{
    return (PyObject **)((char *)state + at);
}

/* Note where the slots of a class are. */
static inline int
bind_class(void *state, PyObject *cls, const Place *places, size_t count)
{
    PyObject *name = PyObject_GetAttrString(cls, "__name__");
    if (name == NULL) {
        return -1;
    }
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, places[i].type) != 0) {
            continue;
        }
        PyObject *slot = PyObject_GetAttrString(cls, places[i].slot);
        if (slot == NULL || !Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
            Py_XDECREF(slot);
            Py_DECREF(name);
            PyErr_Format(PyExc_TypeError, "%R has no slot %s", cls, places[i].slot);
            return -1;
        }
        *(Py_ssize_t *)((char *)state + places[i].at) = ((PyMemberDescrObject *)slot)->d_member->offset;
        Py_DECREF(slot);
        Py_XSETREF(*object_at(state, places[i].type_at), Py_NewRef(cls));
        found = 1;
    }
    if (!found) {
        PyErr_Format(PyExc_TypeError, "nothing is known of the slots of %R", cls);
    }
    Py_DECREF(name);
    return found ? 0 : -1;
}

/* Keep an object that Python code hands over by name. */
static inline int
bind_object(void *state, PyObject *name, PyObject *value, const Name *given, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, given[i].name) == 0) {
            Py_XSETREF(*object_at(state, given[i].at), Py_NewRef(value));
            return 0;
        }
    }
    PyErr_Format(PyExc_TypeError, "bind takes no %R", name);
    return -1;
}

/* bind(*classes, **objects) */
static inline PyObject *
bind_all(void *state, PyObject *args, PyObject *keywords, const Place *places, size_t slots, const Name *given,
         size_t count)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *cls = PyTuple_GET_ITEM(args, i);
        if (!PyType_Check(cls)) {
            PyErr_Format(PyExc_TypeError, "bind takes classes, got %R", cls);
            return NULL;
        }
        if (bind_class(state, cls, places, slots) < 0) {
            return NULL;
        }
    }
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (keywords != NULL && PyDict_Next(keywords, &at, &key, &value)) {
        if (bind_object(state, key, value, given, count) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* Make the texts of a table. */
static inline int
intern(void *state, const Name *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((*object_at(state, names[i].at) = PyUnicode_InternFromString(names[i].name)) == NULL) {
            return -1;
        }
    }
    return 0;
}

static inline int
visit_all(void *state, const Name *table, size_t count, visitproc visit, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        Py_VISIT(*object_at(state, table[i].at));
    }
    return 0;
}

static inline void
clear_all(void *state, const Name *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Py_CLEAR(*object_at(state, table[i].at));
    }
}

/* ------------------------------------------------------------ the module */

/* A type of the module that Python code sees; a borrowed reference. */
static inline PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return NULL;
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed ? NULL : (PyTypeObject *)type;
}

/* A type to derive from that has methods alone. */
static inline int
add_methods(PyObject *module, const char *name, PyType_Slot *slots)
{
    PyType_Spec spec = {.name = name, .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, .slots = slots};
    return add_type(module, &spec) == NULL ? -1 : 0;
}

/* By what `actors/_extensions.py` tells whether a library was compiled from the sources that are there. */
static inline int
add_checksum(PyObject *module)
{
    return PyModule_AddStringConstant(module, "CHECKSUM", ACTORS_CHECKSUM);
}

#if PY_VERSION_HEX >= 0x030C0000
#define EVERY_INTERPRETER {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define EVERY_INTERPRETER
#endif

/* The definition of a module, and what Python calls to begin it: `begin` names that function, `start` fills the
   module. What follows are the other members of the definition. */
#define EXTENSION(begin, start, module, doc, ...) \
    static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, EVERY_INTERPRETER{0, NULL}}; \
    static struct PyModuleDef definition = { \
        PyModuleDef_HEAD_INIT, .m_name = module, .m_doc = doc, .m_slots = slots, __VA_ARGS__}; \
    PyMODINIT_FUNC begin(void) \
    { \
        return PyModuleDef_Init(&definition); \
    }

#endif
