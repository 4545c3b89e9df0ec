"""From photos to folders: the stages in order, their files, the report and the page."""
