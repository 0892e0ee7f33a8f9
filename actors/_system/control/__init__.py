"""The control socket of a running system: what is asked and answered over it.

Where it is, in `_base.control_folder`.
"""

__all__: list[str] = []
