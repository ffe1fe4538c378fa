"""Arithmetic modulo a prime below 2^31, on NumPy arrays of any shape; primes and chains of primes.

A chain p_0, p_1, ... has p_(i+1) = r p_i + 1, so the powers of an element of order p_i modulo p_(i+1) turn sums
modulo p_i into products: x -> g^x stands for the exponential function (Gonnet 1984; Monagan and Gonnet 1994).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray

__all__ = ["Residues", "Values", "chain_of_primes", "least_prime"]

Values = NDArray[np.int64]

_BITS = 30
_LEAST_BITS = 15
_TRIES = 400


class Residues:
    """The field of integers modulo a prime p < 2^31.

    >>> F = Residues(2147483647)
    >>> F.times(np.array([2]), F.inverse(np.array([2])))
    array([1])
    """

    def __init__(self, p: int) -> None:
        self.p = p

    def number(self, value: Fraction | int) -> int:
        """A rational number.

        Raises   ZeroDivisionError if p divides its denominator
        """
        value = Fraction(value)
        if value.denominator % self.p == 0:
            raise ZeroDivisionError
        return value.numerator * pow(value.denominator, -1, self.p) % self.p

    def plus(self, a: Values, b: Values) -> Values:
        """A + b, entry by entry."""
        return (a + b) % self.p

    def times(self, a: Values, b: Values | int) -> Values:
        """A b, entry by entry; both below 2^31, so the product fits in 63 bits."""
        return a * b % self.p

    def product(self, a: Values, b: Values) -> Values:
        """The matrix product, over the last two axes; one factor is split into halves of 16 bits."""
        if a.shape[-1] == 1:
            return a * b % self.p
        high, low = b >> 16, b & 0xFFFF
        return ((((a @ high) % self.p) << 16) + a @ low) % self.p

    def power(self, a: Values, k: int) -> Values:
        """The k-th power of every entry, k >= 0."""
        result = np.ones_like(a)
        while k:
            if k & 1:
                result = result * a % self.p
            k >>= 1
            if k:
                a = a * a % self.p
        return result

    def inverse(self, a: Values) -> Values:
        """The inverse of every entry; zero for zero."""
        if a.size <= 64:
            flat = [pow(int(x), -1, self.p) if x else 0 for x in a.reshape(-1)]
            return np.array(flat, dtype=np.int64).reshape(a.shape)
        return self.power(a, self.p - 2)

    def is_square(self, a: Values) -> NDArray[np.bool_]:
        """Whether every entry is a square (zero is none)."""
        return self.power(a, (self.p - 1) // 2) == 1

    def powers(self, g: int, exponents: Values) -> Values:
        """G ** exponents for exponents from 0 to below 2^31."""
        result = np.ones_like(exponents)
        for bit in range(int(exponents.max(initial=0)).bit_length()):
            result = np.where(exponents >> bit & 1, result * g % self.p, result)
            g = g * g % self.p
        return result

    def eliminated(self, m: Values) -> tuple[Values, Values]:
        """The inverse and the determinant of every n x n matrix; both zero for a singular one."""
        n = m.shape[-1]
        flat = m.reshape(-1, n, n)
        work = np.concatenate([flat, np.broadcast_to(np.eye(n, dtype=np.int64), flat.shape)], axis=-1)
        each = np.arange(len(work))
        det = np.ones(len(work), dtype=np.int64)
        for c in range(n):
            pivot = c + np.argmax(work[:, c:, c] != 0, axis=1)
            swapped = pivot != c
            if swapped.any():
                work[each, pivot], work[:, c] = work[:, c].copy(), work[each, pivot]
                det = np.where(swapped, -det % self.p, det)
            head = work[:, c, c]
            det = det * head % self.p
            work[:, c] = work[:, c] * self.inverse(head)[:, None] % self.p
            others = work[:, :, c].copy()
            others[:, c] = 0
            work = (work - others[:, :, None] * work[:, c][:, None, :]) % self.p
        inverse = work[:, :, n:] * (det != 0)[:, None, None]
        return inverse.reshape(m.shape), det.reshape((*m.shape[:-2], 1, 1))


def chain_of_primes(length: int, rng: np.random.Generator, *, remainder: tuple[int, int]) -> list[int]:
    """Random primes p_0 < p_1 < ... < 2^31 with p_(i+1) = r p_i + 1; all are `remainder[0]` modulo `remainder[1]`.

    A single prime lies above 2^30; in a chain the largest does so only roughly.

    Raises   ValueError if no chain of that length is found

    >>> p, q = chain_of_primes(2, np.random.default_rng(0), remainder=(7, 8))
    >>> (q - 1) % p, p % 8, q % 8
    (0, 7, 7)
    """
    rest, modulus = remainder
    bits = _bits(length)
    for _ in range(_TRIES):
        start = int(rng.integers(1 << bits, 1 << (bits + 1)))
        first = start - start % modulus + rest
        while not sympy.isprime(first):
            first += modulus
        chain = [first]
        while len(chain) < length:
            higher = _next(chain[-1], rest, modulus, length - len(chain) - 1)
            if higher is None:
                break
            chain.append(higher)
        if len(chain) == length and chain[-1] < 1 << 31:
            return chain
    raise ValueError(f"no chain of {length} primes below 2^31")


def least_prime(length: int) -> int:
    """No prime of a chain of that length is smaller."""
    return 1 << _bits(length)


def _bits(length: int) -> int:
    return max(_BITS - 5 * (length - 1), _LEAST_BITS)


def _next(p: int, rest: int, modulus: int, still: int) -> int | None:
    """The least prime r p + 1 of the right remainder that leaves room for `still` more."""
    for r in range(2, 1 << 10, 2):
        q = r * p + 1
        if q << (3 * still) >= 1 << 31:
            return None
        if q % modulus == rest and sympy.isprime(q):
            return q
    return None
