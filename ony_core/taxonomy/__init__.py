"""What facts mean: tables (TOML, one file per family), the pure engine that reads them, and an organisation's own rules on top."""

from ony_core.taxonomy.overlay import Lesson, assess, of_project

__all__ = ["Lesson", "assess", "of_project"]
