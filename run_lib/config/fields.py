"""The fields of a configuration: which there are, which stand for others, and which component took which."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from ml_collections import ConfigDict

from configs.base import get_config as default_config
from sde_lib.registry import unknown_name

FIELDS = {
    "N": "num_scales",
    "channels": "nf",
    "channel_mult": "ch_mult",
    "attention_resolutions": "attn_resolutions",
    "resample_with_conv": "resamp_with_conv",
    "conv_resample": "resamp_with_conv",
    "embedding": "embedding_type",
    "resblock": "resblock_type",
    "norm_groups": "num_groups",
    "schedule": "beta_schedule",
}
"""Constructor argument -> config field, where they differ: score_sde's abbreviations stay in configs."""

SPELLINGS = {
    ("training", "loss"): "sde",
    ("training", "continuouse"): "continuous",
    ("model", "sigma_begin"): "sigma_max",
}
"""Fields that single files of score_sde use for another one."""


class Section:
    """One section of a configuration, which remembers the fields that components took."""

    def __init__(self, name: str, values: ConfigDict) -> None:
        self.name, self.values = name, values
        self.taken: set[str] = set()

    def construct(self, factory: Any, **context: Any) -> Any:
        """Call a class or function with arguments found by name: in ``context``, else in this section.

        Fields that are not set (``None``) leave the factory its own default.

        Raises:
            ValueError: a class that does not implement what it must, an argument that nobody gives.
        """
        if inspect.isabstract(factory):
            lacking = ", ".join(sorted(factory.__abstractmethods__))
            raise ValueError(f"{factory.__name__} must implement {lacking} to be used.")
        arguments = {}
        for name, parameter in inspect.signature(factory).parameters.items():
            field = FIELDS.get(name, name)
            if name in context:
                self.taken.add(field)
                arguments[name] = context[name]
            elif field in self.values:
                self.taken.add(field)
                if self.values[field] is not None:
                    arguments[name] = self.values[field]
            required = parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            )
            if required and name not in arguments:
                where = (
                    f"config.{self.name}.{field}, which is not set"
                    if field in self.values
                    else "the configuration"
                )
                raise ValueError(
                    f"{factory.__name__} needs {name!r}, and it is not in {where}; give it a default value."
                )
        return factory(**arguments)

    def refuse_untaken(self, takers: str) -> None:
        """A field that is unset by default, was set, and that nothing takes is an error, not a silence.

        Raises:
            ValueError: naming the field.
        """
        optional = {field for field, value in default_config()[self.name].items() if value is None}
        for field in sorted(optional - self.taken):
            if self.values[field] is not None:
                raise ValueError(
                    f"config.{self.name}.{field} is set, but {takers} do not take it; leave it unset."
                )


def check_fields(config: ConfigDict) -> None:
    """Refuse fields that no default names: a misspelt setting is never ignored.

    Raises:
        ValueError: naming the field and the nearest one that exists.
    """
    defaults = default_config()
    for section, value in config.items():
        if section not in defaults:
            raise ValueError(unknown_name("config section", section, list(defaults)))
        for field in value if isinstance(value, ConfigDict) else ():
            if field not in defaults[section]:
                near = difflib.get_close_matches(field, list(defaults[section]), n=1)
                hint = f" Did you mean config.{section}.{near[0]}?" if near else ""
                raise ValueError(f"unknown config field config.{section}.{field}.{hint}")


def complete(config: ConfigDict) -> ConfigDict:
    """A configuration with every field there is: defaults where it has none, other spellings resolved.

    A file of score_sde's may build its configuration from nothing, and then has its own fields only.

    Raises:
        ValueError: an unknown field, or two spellings of one setting that disagree.
    """
    check_fields(config)
    full, defaults = default_config(), default_config()
    with full.ignore_type():  # of all sections, once: entering it walks over every field
        for section, given in config.items():
            if not isinstance(given, ConfigDict):
                full[section] = given
                continue
            for field, value in given.items():
                full[section][field] = value
    for (section, spelling), field in SPELLINGS.items():
        values, given = full[section], config.get(section, {})
        if values[spelling] is not None:
            if given.get(field) not in (None, values[spelling]):
                raise ValueError(
                    f"config.{section}.{spelling}={values[spelling]!r} is another spelling of "
                    f"config.{section}.{field}, "
                    f"which is {given[field]!r}; set one of them."
                )
            values[field], values[spelling] = values[spelling], None
        if values[field] is None:
            values[field] = defaults[section][field]
    if full.sampling.num_steps is None:
        full.sampling.num_steps = full.model.num_scales
    return full
