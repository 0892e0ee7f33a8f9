"""A system with a node at a place of its own."""

from actors import Topology, nodes

topology = Topology(nodes=[nodes("far", engine="hosts")])
