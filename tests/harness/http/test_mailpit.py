from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from harness.workbench import Workbench

from .conftest import MIXED, plain

Put = Callable[..., Awaitable[Any]]


async def test_list_is_newest_first_and_pages(http: httpx.AsyncClient, put: Put) -> None:
    for number in range(5):
        await put(plain(f"message {number}"))
    answer = (await http.get("/api/v1/messages", params={"limit": 2, "start": 1})).json()
    assert [message["Subject"] for message in answer["messages"]] == ["message 3", "message 2"]
    assert (answer["total"], answer["unread"], answer["count"], answer["messages_count"], answer["start"]) == (
        *(5, 5, 2, 5, 1),
    )


async def test_one_message_to_two_mailboxes_is_one_message(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("both"), "alice", "bob@example.com")
    answer = (await http.get("/api/v1/messages")).json()
    assert answer["total"] == 1


async def test_the_same_message_twice_is_two_messages(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("same"))
    await put(plain("same"))
    assert (await http.get("/api/v1/messages")).json()["total"] == 2


async def test_message_with_all_its_parts(http: httpx.AsyncClient, put: Put) -> None:
    await put(MIXED, "alice", "carol@example.com", "dora@example.com")
    answer = (await http.get("/api/v1/message/latest")).json()
    assert answer["From"] == {"Name": "Jörg", "Address": "joerg@example.org"}
    assert answer["To"] == [
        {"Name": "Alice", "Address": "alice@example.com"},
        {"Name": "", "Address": "bob@example.com"},
    ]
    assert answer["Bcc"] == [{"Name": "", "Address": "dora@example.com"}]
    assert answer["Subject"] == "Grüße from the shop"
    assert answer["Date"] == "2010-06-01T10:00:00+02:00"
    assert answer["MessageID"] == "one@example.org"
    assert answer["Text"] == "Your code is 493817."
    assert "<b>493817</b>" in answer["HTML"]
    assert [(part["PartID"], part["FileName"], part["Size"]) for part in answer["Attachments"]] == [
        ("3", "invoice.pdf", 9)
    ]
    assert [(part["PartID"], part["ContentID"]) for part in answer["Inline"]] == [("2", "logo@shop")]


async def test_reading_marks_as_read_and_can_be_undone(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("unread"))
    name = (await http.get("/api/v1/messages")).json()["messages"][0]["ID"]
    await http.get(f"/api/v1/message/{name}")
    assert (await http.get("/api/v1/messages")).json()["unread"] == 0
    await http.put("/api/v1/messages", json={"IDs": [name], "Read": False})
    assert (await http.get("/api/v1/messages")).json()["unread"] == 1


async def test_raw_headers_part_and_text(http: httpx.AsyncClient, put: Put) -> None:
    await put(MIXED)
    assert (await http.get("/api/v1/message/latest/raw")).content == MIXED
    headers = (await http.get("/api/v1/message/latest/headers")).json()
    assert headers["Message-Id"] == ["<one@example.org>"]
    part = await http.get("/api/v1/message/latest/part/3")
    assert (part.content, part.headers["content-type"]) == (b"%PDF-1.4\n", "application/pdf")
    assert (await http.get("/api/v1/message/latest/part/9")).status_code == 404
    assert (await http.get("/view/latest.txt")).text == "Your code is 493817."


async def test_html_view_cannot_run_or_fetch_anything(http: httpx.AsyncClient, put: Put) -> None:
    await put(MIXED)
    answer = await http.get("/view/latest.html")
    assert "data:image/png;base64,iVBORw0KGgo=" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "https:" not in policy
    assert "https:" in (await http.get("/view/latest.html?remote=1")).headers["content-security-policy"]


async def test_html_attachment_is_not_shown_on_our_origin(http: httpx.AsyncClient, put: Put) -> None:
    await put(
        b"Subject: x\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html;"
        b" name=a.html\r\n\r\n<script>1</script>\r\n--m--\r\n"
    )
    answer = await http.get("/api/v1/message/latest/part/1")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_delete(http: httpx.AsyncClient, put: Put, workbench: Workbench) -> None:
    for number in range(3):
        await put(plain(f"n{number}"))
    name = (await http.get("/api/v1/messages")).json()["messages"][1]["ID"]
    await http.request("DELETE", "/api/v1/messages", json={"IDs": [name]})
    left = (await http.get("/api/v1/messages")).json()["messages"]
    assert [message["Subject"] for message in left] == ["n2", "n0"]
    await http.delete("/api/v1/search", params={"query": "subject:n2"})
    assert [m.uid for m in workbench.server.store.mailboxes["alice"].inbox.messages] == [1]
    await http.delete("/api/v1/messages")
    assert (await http.get("/api/v1/messages")).json()["total"] == 0
    assert (await http.get("/api/v1/message/latest")).status_code == 404


async def test_send(http: httpx.AsyncClient) -> None:
    body = {
        "From": {"Email": "a@example.org", "Name": "A"},
        "To": [{"Email": "alice@example.com"}],
        "Bcc": ["hidden@example.com"],
        "Subject": "Hällo",
        "Text": "text",
        "HTML": "<p>html</p>",
        "Attachments": [{"Filename": "a.txt", "Content": "aGk=", "ContentType": "text/plain"}],
    }
    answer = await http.post("/api/v1/send", json=body)
    assert answer.status_code == 200, answer.text
    message = (await http.get(f"/api/v1/message/{answer.json()['ID']}")).json()
    assert (message["Subject"], message["Attachments"][0]["FileName"]) == ("Hällo", "a.txt")
    assert message["Bcc"] == [{"Name": "", "Address": "hidden@example.com"}]
    refused = await http.post("/api/v1/send", json={"From": {"Email": "a@x"}, "To": []})
    assert refused.status_code == 400


async def test_info_tags_webui(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("x"))
    info = (await http.get("/api/v1/info")).json()
    assert (info["Messages"], info["Unread"]) == (1, 1)
    assert (await http.get("/api/v1/tags")).json() == []
    assert (await http.get("/api/v1/webui")).json()["MessageRelay"]["Enabled"] is False


async def test_tenants_see_their_own(http: httpx.AsyncClient, put: Put) -> None:
    made = (await http.post("/api/tenants", json={"name": "shop", "users": ["bob:secret"]})).json()
    assert made["addresses"]["smtp"]["port"] > 0
    await put(plain("ours"), "alice")
    sent = {"From": {"Email": "a@x.org"}, "To": [{"Email": "bob"}], "Subject": "theirs"}
    assert (await http.post("/api/v1/send", json=sent, params={"tenant": "shop"})).status_code == 200
    for where, subject in (({"tenant": "shop"}, "theirs"), ({}, "ours")):
        answer = (await http.get("/api/v1/messages", params=where)).json()
        assert [message["Subject"] for message in answer["messages"]] == [subject]
    assert (await http.get("/api/v1/messages", headers={"X-Mailjam-Tenant": "shop"})).json()["total"] == 1
    assert (await http.get("/api/v1/messages", params={"tenant": "none"})).status_code == 404


async def test_copy_by_a_client_is_no_new_message(http: httpx.AsyncClient, put: Put, workbench: Workbench) -> None:
    (message,) = await put(plain("x"))
    store = workbench.server.store
    await store.copy([message], store.mailboxes["alice"].folders["Trash"])
    assert (await http.get("/api/v1/messages")).json()["total"] == 1
    await store.expunge(message.folder, [message])
    assert (await http.get("/api/v1/messages")).json()["total"] == 1


async def test_tags(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("one"))
    await put(plain("two"))
    (name,) = [m["ID"] for m in (await http.get("/api/v1/search?query=subject:one")).json()["messages"]]
    assert (await http.put("/api/v1/tags", json={"IDs": [name], "Tags": ["b", " a  x "]})).text == "ok"
    assert (await http.get("/api/v1/tags")).json() == ["a x", "b"]
    assert (await http.get('/api/v1/search?query=tag:"A x"')).json()["messages_count"] == 1
    await http.put("/api/v1/tags", json={"IDs": [name], "Tags": []})
    assert (await http.get("/api/v1/search?query=is:tagged")).json()["messages_count"] == 0
    assert (await http.put("/api/v1/tags", json={"Tags": ["x"]})).status_code == 400
    assert (await http.put("/api/v1/tags", json={"IDs": [name], "Tags": [1]})).status_code == 400


async def test_what_could_run_is_a_download(http: httpx.AsyncClient, put: Put) -> None:
    await put(
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
        b"--m\r\nContent-Type: image/svg+xml\r\n"
        b'Content-Disposition: inline; filename="a\\";x=<b>.svg"\r\n\r\n<svg/>\r\n'
        b"--m\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nx\r\n--m--\r\n"
    )
    svg = await http.get("/api/v1/message/latest/part/1")
    assert svg.headers["content-type"] == "application/octet-stream"
    assert svg.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%3Bx%3D%3Cb%3E.svg"
    assert svg.headers["content-security-policy"] == "sandbox; default-src 'none'"
    png = await http.get("/api/v1/message/latest/part/2")
    assert (png.headers["content-type"], png.headers["content-disposition"].partition(";")[0]) == (
        "image/png",
        "inline",
    )
