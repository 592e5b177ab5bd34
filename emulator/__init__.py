"""The running system: store, sections, conversion, queues, services and the asyncio transport."""
