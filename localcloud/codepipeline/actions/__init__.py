"""What each type of action does when it runs."""
