"""A policy that pays every day beside the books, before anybody is paid by it."""
