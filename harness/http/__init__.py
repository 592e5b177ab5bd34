"""The HTTP side of a running server: Mailpit-compatible reads, an API of its own, and the live page.

Starlette and uvicorn come with `pip install 'mailjam[http]'`; nothing here is imported before it is asked for.
"""
