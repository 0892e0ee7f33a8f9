/* libFuzzer over the decoder in C, within a Python that has it: `.ci/fuzz` compiles both.

   decoder_fuzzing.py says what an input is, and what must not happen. Coverage is that of the C files alone, and the
   sanitizers of memory and of undefined behaviour watch them. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t largest);

static PyObject *judge, *mutate;

/* Ends the process as a crash, for which libFuzzer keeps the input. */
static void
failed(void)
{
    PyErr_Print();
    fflush(NULL);
    abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, getenv("FUZZ_PYTHON"));
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    PyObject *module = PyImport_ImportModule("tests.soak.decoder_fuzzing");
    if (module == NULL || (judge = PyObject_GetAttrString(module, "judge")) == NULL
        || (mutate = PyObject_GetAttrString(module, "mutate")) == NULL) {
        failed();
    }
    Py_DECREF(module);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PyObject *done = PyObject_CallFunction(judge, "y#", (const char *)data, (Py_ssize_t)size);
    if (done == NULL) {
        failed();
    }
    Py_DECREF(done);
    return 0;
}

/* Every other time a value within a message is changed, by Python; else bytes are, by libFuzzer. */
size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t largest, unsigned int seed)
{
    if (seed % 2) {
        return LLVMFuzzerMutate(data, size, largest);
    }
    PyObject *made = PyObject_CallFunction(mutate, "y#I", (const char *)data, (Py_ssize_t)size, seed);
    if (made == NULL) {
        failed();
    }
    size_t length = (size_t)PyBytes_GET_SIZE(made);
    if (length == 0 || length > largest) {
        length = LLVMFuzzerMutate(data, size, largest);
    }
    else {
        memcpy(data, PyBytes_AS_STRING(made), length);
    }
    Py_DECREF(made);
    return length;
}
