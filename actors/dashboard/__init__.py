"""Health, readiness, metrics and a page for operators: what a system serves with ``Topology(admin=…)``.

The application, `app.app`, runs on the one node of the group ``admin`` and asks the parent for what it shows.
"""

from actors._system.admin_spec import Admin

__all__ = ["Admin"]
