from actors._system.system import System

__all__ = ["System"]
