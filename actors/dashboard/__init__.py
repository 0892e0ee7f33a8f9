"""Health, readiness, metrics, alerts and a page for operators: ``Topology(admin=…, alerts=…)``.

The application, `app.app`, runs on the one node of the group ``admin`` and asks the parent for what it shows.
"""

from actors._system.admin_spec import Admin
from actors._system.alerts_spec import Alerts

__all__ = ["Admin", "Alerts"]
