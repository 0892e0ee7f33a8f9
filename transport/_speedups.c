/* C twins of functions of this package; `actors/_extensions.py` says when they run.

   The Python twin is the reference: same results, same errors. State belongs to the module, so that each
   sub-interpreter has its own.
*/

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Immutable types of the language that are copied by reference, `LEAVES` of types/tags.py. */
static inline int
is_leaf(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || value == Py_None || type == &PyBool_Type
        || type == &PyFloat_Type || type == &PyBytes_Type;
}

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

static PyMethodDef functions[] = {
    {"all_leaves", all_leaves, METH_O, "Whether the type of each value is a leaf's."},
    {NULL, NULL, 0, NULL},
};

static int
start(PyObject *module)
{
    return PyModule_AddStringConstant(module, "CHECKSUM", ACTORS_CHECKSUM);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, start},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "actors.transport._speedups",
    .m_doc = "C twins of functions of actors.transport.",
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
