"""What people look at: figures, notebooks through papermill, the book, the terminal."""
