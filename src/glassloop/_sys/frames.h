/* The Python frames of a thread, read without the GIL and from another thread.
 *
 * What is read may change or vanish meanwhile: all of it is copied through process_vm_readv(2) on this very
 * process, which gives an error where plain reading would crash. The layout of frames is CPython's own business;
 * what is believed of it here is proven at import (glassloop_prove_frames), and nothing is read where it fails.
 */
#ifndef GLASSLOOP_FRAMES_H
#define GLASSLOOP_FRAMES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#if PY_VERSION_HEX >= 0x030C0000
enum { GLASSLOOP_FRAME_CODE = 0, GLASSLOOP_FRAME_PREVIOUS = 1, GLASSLOOP_FRAME_INSTRUCTION = 7 };
#else
enum { GLASSLOOP_FRAME_CODE = 4, GLASSLOOP_FRAME_PREVIOUS = 6, GLASSLOOP_FRAME_INSTRUCTION = 7 };
#endif
#define GLASSLOOP_FRAME_WORDS 8
#define GLASSLOOP_MAX_FRAMES 64

static int glassloop_frames_proven; /* one for each module that includes this */

static inline uintptr_t *glassloop_frame_of(PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030D0000
    return (uintptr_t *)thread->current_frame;
#else
    return thread->cframe != NULL ? (uintptr_t *)thread->cframe->current_frame : NULL;
#endif
}

/* The code of a frame; from 3.14 on the lowest bits are a tag. */
static inline PyObject *glassloop_frame_code(uintptr_t *frame) {
    return (PyObject *)(frame[GLASSLOOP_FRAME_CODE] & ~(uintptr_t)7);
}

/* The codes that run in this thread, innermost first (borrowed): fills at most `count`, returns how many. */
static inline int glassloop_running_codes(PyObject **codes, int count) {
    uintptr_t *frame;
    int found = 0;
    if (!glassloop_frames_proven) return 0;
    frame = glassloop_frame_of(PyThreadState_Get());
    for (int i = 0; frame != NULL && found < count && i < 8; i++) {
        PyObject *code = glassloop_frame_code(frame);
        if (code != NULL && PyCode_Check(code)) codes[found++] = code; /* else a frame of the interpreter's own */
        frame = (uintptr_t *)frame[GLASSLOOP_FRAME_PREVIOUS];
    }
    return found;
}

static inline int glassloop_peek(const void *from, void *to, size_t size) {
    struct iovec here = {to, size}, there = {(void *)from, size};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -1;
}

/* The line of the instruction at `offset` (in code units) by the table of PEP 626; -1 unknown. */
static int glassloop_line(const uint8_t *table, Py_ssize_t size, int line, Py_ssize_t offset) {
    Py_ssize_t i = 0, address = 0;
    while (i < size) {
        int kind = (table[i] >> 3) & 15, units = (table[i] & 7) + 1, known = kind != 15;
        i++;
        if (kind == 13 || kind == 14) {
            unsigned value = 0, shift = 0;
            while (i < size) {
                value |= (unsigned)(table[i] & 63) << shift;
                shift += 6;
                if (!(table[i++] & 64) || shift > 24) break;
            }
            line += value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
        } else if (kind >= 10 && kind <= 12) {
            line += kind - 10;
        }
        while (i < size && !(table[i] & 128)) i++;
        if (offset < address + units) return known ? line : -1;
        address += units;
    }
    return -1;
}

/* A str as UTF-8, cut to fit; tabs and line ends become spaces. Returns the length, 0 where it cannot be read. */
static size_t glassloop_peek_text(PyObject *text, char *to, size_t size) {
    PyCompactUnicodeObject head;
    uint8_t characters[512];
    size_t length, width, used = 0, i;
    const char *from;
    if (text == NULL || glassloop_peek(text, &head, sizeof(head)) < 0 || !head._base.state.compact) return 0;
    width = head._base.state.kind;
    if (width != 1 && width != 2 && width != 4) return 0;
    length = (size_t)head._base.length;
    from = (const char *)text + (head._base.state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject));
    if (length > sizeof(characters) / width) { /* the end says more than the beginning */
        from += (length - sizeof(characters) / width) * width;
        length = sizeof(characters) / width;
    }
    if (glassloop_peek(from, characters, length * width) < 0) return 0;
    for (i = 0; i < length && used + 4 < size; i++) {
        uint32_t c = width == 1 ? characters[i] : width == 2 ? ((uint16_t *)characters)[i] : ((uint32_t *)characters)[i];
        if (c < 32 || c == 127) c = ' ';
        if (c < 0x80) {
            to[used++] = (char)c;
        } else if (c < 0x800) {
            to[used++] = (char)(0xC0 | c >> 6);
            to[used++] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            to[used++] = (char)(0xE0 | c >> 12);
            to[used++] = (char)(0x80 | (c >> 6 & 63));
            to[used++] = (char)(0x80 | (c & 63));
        } else {
            to[used++] = (char)(0xF0 | c >> 18);
            to[used++] = (char)(0x80 | (c >> 12 & 63));
            to[used++] = (char)(0x80 | (c >> 6 & 63));
            to[used++] = (char)(0x80 | (c & 63));
        }
    }
    return used;
}

/* "file\tline\tfunction\n" for one code object and instruction. Returns the bytes written. */
static size_t glassloop_describe(PyObject *code, uintptr_t instruction, char *to, size_t size) {
    PyCodeObject copy;
    struct { PyObject_VAR_HEAD Py_hash_t hash; } table;
    uint8_t bytes[4096];
    char file[384], name[192];
    size_t file_length, name_length, base = offsetof(PyCodeObject, co_code_adaptive);
    Py_ssize_t table_size;
    int line = -1, written;
    if (code == NULL || glassloop_peek(code, &copy, base) < 0 || Py_TYPE((PyObject *)&copy) != &PyCode_Type) return 0;
    file_length = glassloop_peek_text(copy.co_filename, file, sizeof(file));
    name_length = glassloop_peek_text(copy.co_qualname, name, sizeof(name));
    if (file_length == 0 || name_length == 0) return 0;
    if (file_length == 6 && memcmp(file, "<shim>", 6) == 0) return 0; /* a frame of the interpreter's own (3.12) */
    if (instruction >= (uintptr_t)code + base && glassloop_peek(copy.co_linetable, &table, sizeof(table)) == 0) {
        table_size = table.ob_base.ob_size;
        if (table_size > (Py_ssize_t)sizeof(bytes)) table_size = sizeof(bytes);
        if (table_size > 0 && glassloop_peek((char *)copy.co_linetable + offsetof(PyBytesObject, ob_sval), bytes, table_size) == 0)
            line = glassloop_line(bytes, table_size, copy.co_firstlineno, (Py_ssize_t)(instruction - (uintptr_t)code - base) / 2);
    }
    if (line < 0) line = copy.co_firstlineno;
    written = snprintf(to, size, "%.*s\t%d\t%.*s\n", (int)file_length, file, line, (int)name_length, name);
    return written > 0 && (size_t)written < size ? (size_t)written : 0;
}

/* The stack of a thread, innermost frame first. Returns the bytes written. Needs no GIL. */
static size_t glassloop_stack(PyThreadState *thread, char *to, size_t size) {
    PyThreadState copy;
    uintptr_t words[GLASSLOOP_FRAME_WORDS], *frame;
    size_t used = 0;
    if (!glassloop_frames_proven || glassloop_peek(thread, &copy, sizeof(copy)) < 0) return 0;
#if PY_VERSION_HEX >= 0x030D0000
    frame = (uintptr_t *)copy.current_frame;
#else
    {
        _PyCFrame inner;
        if (copy.cframe == NULL || glassloop_peek(copy.cframe, &inner, sizeof(inner)) < 0) return 0;
        frame = (uintptr_t *)inner.current_frame;
    }
#endif
    for (int i = 0; frame != NULL && i < GLASSLOOP_MAX_FRAMES; i++) {
        if (glassloop_peek(frame, words, sizeof(words)) < 0) break;
        used += glassloop_describe(glassloop_frame_code(words), words[GLASSLOOP_FRAME_INSTRUCTION], to + used, size - used);
        frame = (uintptr_t *)words[GLASSLOOP_FRAME_PREVIOUS];
    }
    return used;
}

/* Called by a Python function with its own code and its caller's: whether frames lie in memory as believed. */
static int glassloop_prove_frames(PyObject *inner, PyObject *outer, int line) {
    char text[1024], number[32];
    uintptr_t *frame = glassloop_frame_of(PyThreadState_Get());
    size_t used;
    glassloop_frames_proven = 0;
    if (frame == NULL || glassloop_frame_code(frame) != inner) return 0;
    frame = (uintptr_t *)frame[GLASSLOOP_FRAME_PREVIOUS];
    if (frame == NULL || glassloop_frame_code(frame) != outer) return 0;
    glassloop_frames_proven = 1;
    used = glassloop_stack(PyThreadState_Get(), text, sizeof(text) - 1);
    text[used] = 0;
    snprintf(number, sizeof(number), "\t%d\t", line);
    glassloop_frames_proven = strchr(text, '\n') != NULL && strstr(text, number) != NULL && strstr(text, number) < strchr(text, '\n');
    return glassloop_frames_proven;
}

#endif
