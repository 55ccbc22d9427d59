"""Jobs are processes: what runs an image's program in a private folder, and leaves nothing behind."""
