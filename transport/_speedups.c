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

static PyMethodDef functions[] = {
    {"all_leaves", all_leaves, METH_O, "Whether the type of each value is a leaf's."},
    {"snapshot", (PyCFunction)(void (*)(void))snapshot, METH_FASTCALL, "See codec/snapshot.py."},
    {"snapshot_args", (PyCFunction)(void (*)(void))snapshot_args, METH_FASTCALL, "See codec/snapshot.py."},
    {"copy_all", copy_all, METH_O, "A list of copies of some values, or None: it is left to the twin."},
    {"pack", (PyCFunction)(void (*)(void))pack, METH_FASTCALL, "The bytes of a message."},
    {"prepare", prepare, METH_VARARGS, "Hand over twins and classes."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

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

static int
start(PyObject *module)
{
    State *state = PyModule_GetState(module);
    if (add_numbers(module) || PyModule_AddStringConstant(module, "CHECKSUM", ACTORS_CHECKSUM) < 0
        || (state->plan_type = add_type(module, &plan_spec)) == NULL
        || (state->packed_value_type = add_type(module, &packed_value_spec)) == NULL
        || (state->packer_type = add_type(module, &packer_spec)) == NULL
        || (state->unpacker_type = add_type(module, &unpacker_spec)) == NULL
        || (state->plans = PyDict_New()) == NULL || PyModule_AddObjectRef(module, "plans", state->plans) < 0
        || (state->empty = PyTuple_New(0)) == NULL
        || (state->tzinfo = PyUnicode_InternFromString("tzinfo")) == NULL
        || (state->name = PyUnicode_InternFromString("_name_")) == NULL) {
        return -1;
    }
    state->snapshot = Py_NewRef(Py_None);
    state->snapshot_args = Py_NewRef(Py_None);
    state->timezone = Py_NewRef(Py_None);
    state->ext_type = Py_NewRef(Py_None);
    return 0;
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->plan_type);
    Py_VISIT(state->packed_value_type);
    Py_VISIT(state->packer_type);
    Py_VISIT(state->unpacker_type);
    Py_VISIT(state->plans);
    Py_VISIT(state->timezone);
    Py_VISIT(state->ext_type);
    Py_VISIT(state->snapshot);
    Py_VISIT(state->snapshot_args);
    return 0;
}

static int
clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->plan_type);
    Py_CLEAR(state->packed_value_type);
    Py_CLEAR(state->packer_type);
    Py_CLEAR(state->unpacker_type);
    Py_CLEAR(state->plans);
    Py_CLEAR(state->empty);
    Py_CLEAR(state->tzinfo);
    Py_CLEAR(state->name);
    Py_CLEAR(state->timezone);
    Py_CLEAR(state->ext_type);
    Py_CLEAR(state->snapshot);
    Py_CLEAR(state->snapshot_args);
    return 0;
}

static void
end(void *module)
{
    clear(module);
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
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = end,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
