"""How a node finds its relay layer: by name, when it is switched on; without it nothing of the layer is imported.

The layer is the package `anonymizer`, whose extra brings what it needs; another one may stand in its place, as any module
whose `layer_of(node)` gives an object with the interface IRelayLayer.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zope.interface.verify import verifyObject

from gnutella.control.relay_view import IRelayLayer, RelayView
from gnutella.errors import UserError
from gnutella.settings import AnonymousSettings

if TYPE_CHECKING:
    from gnutella.node import Node

_OFF = ("the relay layer is off, so nothing was sent", "start with --anonymous, or set anonymous.enabled")
_MISSING = ("the relay layer is not installed, so nothing was sent", "pip install 'gnutella-servent[anonymizer]'")


def check_layer(settings: AnonymousSettings) -> Any:
    """The module of the layer, None if it is off; UserError (78) if it cannot be had."""
    if not settings.enabled:
        return None
    try:
        return import_module(settings.layer)
    except ImportError as error:
        raise UserError(f"{settings.layer}: {_MISSING[0]} ({error})", _MISSING[1], os.EX_CONFIG) from None


def load(node: Node) -> Any:
    """The layer of that node, if it is switched on, else None; UserError (78) if it cannot be had."""
    module = check_layer(node.config.settings.anonymous)
    if module is None:
        return None
    layer = module.layer_of(node)
    verifyObject(IRelayLayer, layer)
    return layer


def view_of(layer: Any) -> RelayView:
    """What commands see of it; UserError (78) without one."""
    if layer is None:
        raise UserError(*_OFF, os.EX_CONFIG)
    view: RelayView = layer.view
    return view
