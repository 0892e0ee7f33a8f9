"""A Socket.IO server: each node has its own sessions and rooms, which the topic of the nodes joins."""

import socketio

import actors
from actors.socketio import TopicManager

sio = socketio.AsyncServer(async_mode="asgi", client_manager=TopicManager())
sio.eio.generate_id = actors.sticky_id
app = socketio.ASGIApp(sio)


@sio.event
async def connect(sid: str, environ: object, auth: object) -> None:
    await sio.save_session(sid, {"said": []})


@sio.event
async def whoami(sid: str) -> str:
    """Answer with the node."""
    return actors.current().node.name


@sio.event
async def remember(sid: str, word: str) -> list[str]:
    """Add a word to the session of the client, which is in the memory of this node."""
    session = await sio.get_session(sid)
    session["said"].append(word)
    await sio.save_session(sid, session)
    said: list[str] = session["said"]
    return said


@sio.event
async def join(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)


@sio.event
async def leave(sid: str, room: str) -> None:
    await sio.leave_room(sid, room)


@sio.event
async def say(sid: str, room: str, text: str) -> None:
    """Send a text to everybody in a room, on whichever node."""
    await sio.emit("said", text, room=room)


@sio.event
async def drop(sid: str, other: str) -> None:
    """Disconnect another client, on whichever node it is."""
    await sio.disconnect(other)
