"""The table form: records in the blob, and a program with constant code that walks them."""
