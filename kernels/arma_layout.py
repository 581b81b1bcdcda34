"""Where everything about a block of ARMA lanes lies in its flat array of rows (see `lane_rows` and `arma_passes`)."""

from typing import Final

from kernels.lane_rows import LANES

L: Final = LANES

# Inputs and outputs, one row of LANES each.
X: Final = 0  # 6 free parameters
AR: Final = 6 * L  # 3
MA: Final = 9 * L  # 3
VALUE: Final = 12 * L
SSQ: Final = 13 * L  # S
DET: Final = 14 * L  # D
GRAD: Final = 15 * L  # 6, with respect to x
HESS: Final = 21 * L  # 6 x 6, with respect to x

# Inside: parameters.
PARTIALS: Final = 57 * L  # 6 partial autocorrelations
SLOPES: Final = 63 * L  # 6, dr/dx
COLUMNS: Final = 69 * L  # 18: d(ar or ma)/dx for each x, 3 rows each
# Inside: states of the recursions; row l of a group holds the value at t - 1 - l.
E: Final = 87 * L  # 4
B: Final = 91 * L  # 4
XS: Final = 95 * L  # 4
Z: Final = 99 * L  # 4
V: Final = 103 * L  # 6
Y: Final = 109 * L  # 6
S: Final = 115 * L  # 6
G: Final = 121 * L  # 9
STATES_END: Final = 130 * L
# Inside: sums over time.
CE: Final = 130 * L  # 3: C'e0
EX: Final = 133 * L  # 3: sum e_t x_{t-1-i}
EZ: Final = 136 * L  # 3
EY: Final = 139 * L  # 5: sum e_t y_{t-2-i}
ES: Final = 144 * L  # 5
EV: Final = 149 * L  # 5
XX: Final = 154 * L  # 9: sum x_{t-1-i} x_{t-1-j}
ZZ: Final = 163 * L  # 9
XZ: Final = 172 * L  # 9
XB: Final = 181 * L  # 9
ZB: Final = 190 * L  # 9
SUMS_END: Final = 199 * L
# Inside: small matrices.
ALPHA: Final = 199 * L  # 3
LAMBDA: Final = 202 * L  # 3
P: Final = 205 * L  # 6
GG: Final = 211 * L  # 6
M: Final = 217 * L  # 9: (I + P G)^-1
VV: Final = 226 * L  # 6
YY: Final = 232 * L  # 6
W: Final = 238 * L  # 6: G (I + P G)^-1
XI: Final = 244 * L  # 6: the adjoint of G
GRAD_COEF: Final = 250 * L  # 6: gradient in (ar, ma)
GRAD_CHANGE: Final = 256 * L  # 6: its derivative in one direction
DIRECTION: Final = 262 * L  # 3: the direction
STAGED_U: Final = 265 * L  # 4: w_t less its autoregression (and less the initial state) for four observations
STAGED_W: Final = 269 * L  # 4: w_t
STAGED_PULSE: Final = 273 * L  # 4: 1 at time 0, where b starts
SIZE: Final = 277 * L
