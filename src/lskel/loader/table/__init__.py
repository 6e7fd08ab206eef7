"""The table form: records in the blob, and one program of constant text that walks them."""
