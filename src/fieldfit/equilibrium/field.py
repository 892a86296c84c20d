"""Magnetic field and force of an axisymmetric equilibrium in inverse coordinates.

Coordinates and field
---------------------
(rho, theta, zeta): the radius rho labels flux surfaces, R(rho, theta) and Z(rho, theta) are the unknowns, zeta is the
toroidal angle. Subscripts r and t are derivatives. With psi' = Psi rho / pi and the stream function lambda,

    sqrt g = R (R_t Z_r - R_r Z_t)
    B^zeta = psi' (1 + lambda_t) / sqrt g,   B^t = psi' iota / sqrt g,   B^r = 0
    B_zeta = R^2 B^zeta,   B_t = g_tt B^t,   B_r = g_rt B^t
    g_tt = R_t^2 + Z_t^2,   g_rt = R_r R_t + Z_r Z_t

Force
-----
mu0 J = curl B, so

    mu0 sqrt g J^r = d_t B_zeta,   mu0 sqrt g J^t = -d_r B_zeta,   mu0 sqrt g J^zeta = d_r B_t - d_t B_r,

and J x B - grad p = F_r grad rho - sqrt g J^r e_h with F_r = sqrt g (J^t B^zeta - J^zeta B^t) - p' and
e_h = B^zeta grad t - B^t grad zeta. The lengths of both parts in newton per cubic metre need

    |grad r| = R sqrt(g_tt) / sqrt g,   |grad t| = R sqrt(R_r^2 + Z_r^2) / sqrt g,
    |e_h|^2 = (B^zeta)^2 |grad t|^2 + (B^t)^2 / R^2.

All functions are products and powers, so they take NumPy arrays and traced ones alike.

References:
    D'haeseleer et al. (1991), Flux Coordinates and Magnetic Field Structure, doi:10.1007/978-3-642-75595-8.
    Dudt, Kolemen (2020), Phys. Plasmas 27, 102513, doi:10.1063/5.0020743.
    Hirshman, Whitson (1983), Phys. Fluids 26, 3553, doi:10.1063/1.864116.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VACUUM_PERMEABILITY = 1.25663706127e-6
"""mu0 [H/m], CODATA 2022."""


@dataclass(frozen=True, eq=False)
class Field:
    """Geometry and field at nodes; every entry has the shape (nodes,).

    Args:
        sqrt_g: Jacobian of the coordinates [m^3].
        sqrt_g_r: Its derivative in rho.
        g_tt: Metric element [m^2].
        g_tt_r: Its derivative in rho.
        B_sup_t: Contravariant component along theta [T/m].
        B_sup_t_r: Its derivative in rho.
        B_sup_t_t: Its derivative in theta.
        B_sup_z: Contravariant component along zeta [T/m].
        B_sup_z_r: Its derivative in rho.
        B_sup_z_t: Its derivative in theta.
    """

    sqrt_g: Any
    sqrt_g_r: Any
    g_tt: Any
    g_tt_r: Any
    B_sup_t: Any
    B_sup_t_r: Any
    B_sup_t_t: Any
    B_sup_z: Any
    B_sup_z_r: Any
    B_sup_z_t: Any


def magnetic_field(q: Mapping[str, Any]) -> Field:
    """Return geometry and field at nodes.

    Args:
        q: Quantities at nodes by the names of `fieldfit.equilibrium.tables.QUANTITIES`, shape (nodes,) each.
    """
    R, R_r, R_t, Z_r, Z_t = q["R"], q["R_r"], q["R_t"], q["Z_r"], q["Z_t"]
    area = R_t * Z_r - R_r * Z_t
    sqrt_g = R * area
    sqrt_g_r = R_r * area + R * (q["R_rt"] * Z_r + R_t * q["Z_rr"] - q["R_rr"] * Z_t - R_r * q["Z_rt"])
    sqrt_g_t = R_t * area + R * (q["R_tt"] * Z_r + R_t * q["Z_rt"] - q["R_rt"] * Z_t - R_r * q["Z_tt"])
    stretch, psi_r = 1.0 + q["L_t"], q["psi_r"]
    B_z, B_t = psi_r * stretch / sqrt_g, psi_r * q["iota"] / sqrt_g
    return Field(
        sqrt_g=sqrt_g,
        sqrt_g_r=sqrt_g_r,
        g_tt=R_t**2 + Z_t**2,
        g_tt_r=2.0 * (R_t * q["R_rt"] + Z_t * q["Z_rt"]),
        B_sup_t=B_t,
        B_sup_t_r=(q["psi_rr"] * q["iota"] + psi_r * q["iota_r"] - B_t * sqrt_g_r) / sqrt_g,
        B_sup_t_t=-B_t * sqrt_g_t / sqrt_g,
        B_sup_z=B_z,
        B_sup_z_r=(q["psi_rr"] * stretch + psi_r * q["L_rt"] - B_z * sqrt_g_r) / sqrt_g,
        B_sup_z_t=(psi_r * q["L_tt"] - B_z * sqrt_g_t) / sqrt_g,
    )


def force(q: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the radial and the helical component of J x B - grad p, times the Jacobian.

    Args:
        q: As in `magnetic_field`.

    Returns:
        F_r |grad r| sqrt g and sqrt g J^r |e_h| sqrt g [N], shape (nodes,) each.
    """
    field = magnetic_field(q)
    radial, helical = _covariant_force(q, field)
    # The factors 1 / sqrt g of both gradients cancel against the Jacobian, except in the toroidal part of e_h.
    along_t = field.B_sup_z * q["R"] * (q["R_r"] ** 2 + q["Z_r"] ** 2) ** 0.5
    along_zeta = field.B_sup_t * field.sqrt_g / q["R"]
    return radial * q["R"] * field.g_tt**0.5, helical * (along_t**2 + along_zeta**2) ** 0.5


def force_density(q: Mapping[str, Any]) -> Any:
    """Return the length of J x B - grad p [N/m^3], shape (nodes,).

    grad rho and e_h are not orthogonal: grad rho . grad theta = -g_rt R^2 / (sqrt g)^2.

    Args:
        q: As in `magnetic_field`.
    """
    field = magnetic_field(q)
    radial, helical = _covariant_force(q, field)
    area = (field.sqrt_g / q["R"]) ** 2
    g_rr, g_rt = q["R_r"] ** 2 + q["Z_r"] ** 2, q["R_r"] * q["R_t"] + q["Z_r"] * q["Z_t"]
    helical_squared = field.B_sup_z**2 * g_rr / area + (field.B_sup_t / q["R"]) ** 2
    # grad rho times -e_h.
    mixed = field.B_sup_z * g_rt / area
    return (radial**2 * field.g_tt / area + helical**2 * helical_squared + 2.0 * radial * helical * mixed) ** 0.5


def _covariant_force(q: Mapping[str, Any], field: Field) -> tuple[Any, Any]:
    """Return F_r [Pa] and sqrt g J^r [A], shape (nodes,) each."""
    R, R_r, R_t, Z_r, Z_t = q["R"], q["R_r"], q["R_t"], q["Z_r"], q["Z_t"]
    B_t, B_z = field.B_sup_t, field.B_sup_z
    g_rt = R_r * R_t + Z_r * Z_t
    g_rt_t = q["R_rt"] * R_t + R_r * q["R_tt"] + q["Z_rt"] * Z_t + Z_r * q["Z_tt"]
    current_r = 2.0 * R * R_t * B_z + R**2 * field.B_sup_z_t
    current_t = -2.0 * R * R_r * B_z - R**2 * field.B_sup_z_r
    current_z = field.g_tt_r * B_t + field.g_tt * field.B_sup_t_r - g_rt_t * B_t - g_rt * field.B_sup_t_t
    return (current_t * B_z - current_z * B_t) / VACUUM_PERMEABILITY - q["p_r"], current_r / VACUUM_PERMEABILITY
