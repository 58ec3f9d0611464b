"""Instruments: objects that the program gave a loop to be told of what happens in it.

The methods are trio's (``trio.abc.Instrument``), and so are the rules: only what is implemented is called,
in the order of installing, and whoever raises is reported and removed. A loop without any has no
``Instruments``.
"""

import _thread

import cython

# As trio names them; the order is that of Hook in instruments.pxd.
HOOKS = (
    "before_run",
    "after_run",
    "task_spawned",
    "task_scheduled",
    "before_task_step",
    "after_task_step",
    "task_exited",
    "before_io_wait",
    "after_io_wait",
)
_NAMES = cython.declare(tuple, HOOKS)
_nothing = cython.declare(object, object())


@cython.final
@cython.cclass
class Instruments:
    def __cinit__(self) -> None:
        self.installed = {}
        self.methods = [()] * len(_NAMES)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def add(self, instrument: object, methods: dict) -> cython.int:
        """Call these methods, by the names of their hooks; nothing changes if it is installed already."""
        if id(instrument) in self.installed:
            return 0
        self.installed[id(instrument)] = instrument
        for hook, name in enumerate(_NAMES):
            if name in methods:
                self.methods[hook] = (*self.methods[hook], (instrument, methods[name]))
        note_hooks(self)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def remove(self, instrument: object) -> cython.int:
        """Call it no more; KeyError if it is not installed."""
        if self.installed.pop(id(instrument), _nothing) is _nothing:
            raise KeyError(instrument)
        for hook, entries in enumerate(self.methods):
            self.methods[hook] = tuple([entry for entry in entries if entry[0] is not instrument])
        note_hooks(self)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def tell(self, loop: object, hook: Hook, argument: object = _nothing) -> cython.int:
        entries: tuple = self.methods[hook]
        for entry in entries:
            try:
                if argument is _nothing:
                    entry[1]()
                else:
                    entry[1](argument)
            except KeyboardInterrupt:
                # The program's, and not the instrument's fault: it comes again where the program sees it.
                _thread.interrupt_main()
            except BaseException as exc:
                give_up(loop, entry[0], hook, exc)
        return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def note_hooks(instruments: Instruments) -> cython.int:
    hook: cython.int
    instruments.of_tasks = False
    for hook in range(TASK_SPAWNED, TASK_EXITED + 1):
        if instruments.methods[hook]:
            instruments.of_tasks = True
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def give_up(loop: object, instrument: object, hook: Hook, exc: object) -> cython.int:
    """Remove an instrument that raised, and say so."""
    try:
        try:
            loop.remove_instrument(instrument)
        except KeyError:
            pass  # it has been removed meanwhile
        loop.call_exception_handler(
            {
                "message": f"The instrument {instrument!r} raised in {_NAMES[hook]}() and has been removed",
                "exception": exc,
                "instrument": instrument,
            }
        )
    except KeyboardInterrupt:
        _thread.interrupt_main()
    except BaseException:  # noqa: S110 - its repr, or a handler that would exit: no harm to who was told
        pass
    return 0
