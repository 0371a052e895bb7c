//! The standard normal distribution, for whole vectors: no branches and no calls.
//!
//! With t = |x| and R(t) = Phi(-t) exp(t^2 / 2), a smooth function that falls from 1/2 to 0:
//! - Phi(-t) = exp(-t^2 / 2) R(t), and Phi(t) = 1 - Phi(-t)
//! - phi(x) = exp(-t^2 / 2) / sqrt(2 pi)
//!
//! R is a polynomial in q = (t - K) / (t + K) (Shepherd and Laframboise, 1981), and exp(y) = 2^k exp(r), where k is
//! y / ln 2 rounded, and exp(r) = 1 + r + r^2 P(r). Both polynomials are Chebyshev interpolants whose relative error is
//! below half an ulp. t^2 is split into two parts, of which the larger is exact, so that its rounding does not
//! grow with t.
//!
//! The largest errors, measured against 40 digits: 2 ulp for phi and for Phi(x) with x > 0; for x < 0, 10 ulp of Phi(x)
//! in `f32` and 17 in `f64`, far from 0. Below about -13 in `f32` and -37 in `f64`, where the results would be
//! subnormal, both are 0.

/// Computes Phi(x) and phi(x). NaN gives NaN.
pub(crate) trait Normal: Sized {
    fn normal(self) -> (Self, Self);
}

macro_rules! normal {
    (
        $type:ident, $bits:ident, digits: $digits:expr, half: $half:literal, ln2: [$high:literal, $low:literal],
        least: $least:literal, k: $k:literal, mills: [$($mills:literal),+ $(,)?], exp: [$($exp:literal),+ $(,)?]
    ) => {
        impl Normal for $type {
            #[inline(always)]
            #[expect(clippy::excessive_precision, reason = "the constants have more digits than f32")]
            fn normal(self) -> (Self, Self) {
                /// Adding it rounds to an integer, which is then in the low bits.
                const ROUND: $type = 1.5 * (1_u64 << $digits) as $type;
                const BIAS: $bits = ($type::MAX_EXP - 1) as $bits;
                const MILLS: [$type; [$($mills),+].len()] = [$($mills),+];
                const EXP: [$type; [$($exp),+].len()] = [$($exp),+];

                let size = self.abs();
                // Finite, so that the result for an infinite number is not NaN.
                let t = if size > $least { $least } else { size };
                let high = $type::from_bits(t.to_bits() >> $half << $half);
                let (y, rest) = (-0.5 * high * high, -0.5 * (t - high) * (t + high));
                let rounded = y * std::$type::consts::LOG2_E + ROUND;
                let k = rounded - ROUND;
                let r = y - k * $high - k * $low + rest;
                let mut p = 0.0;
                for c in EXP {
                    p = p * r + c;
                }
                let power = $type::from_bits((rounded.to_bits() << $digits).wrapping_add(BIAS << $digits));
                let exponential = (r * r * p + r + 1.0) * power;
                let exponential = if size > $least { 0.0 } else { exponential };

                let q = (t - $k) / (t + $k);
                let mut p = 0.0;
                for c in MILLS {
                    p = p * q + c;
                }
                let tail = exponential * p;
                (if self > 0.0 { 1.0 - tail } else { tail }, exponential * 0.398_942_280_401_432_68)
            }
        }
    };
}

normal! {
    f32, u32, digits: 23, half: 12, ln2: [0.693_359_375, -2.121_944_4e-4], least: 13.2, k: 3.0,
    mills: [
        5.39295681e-5, 0.000115995057, -0.00033939494, -0.000984020709, 0.00290439324, 0.00613210204, -0.0462132477,
        0.123225032, -0.206402622, 0.121513948,
    ],
    exp: [0.00139262508, 0.00836323288, 0.0416665542, 0.166665767, 0.5]
}

normal! {
    f64, u64, digits: 52, half: 27, ln2: [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10], least: 37.5, k: 5.0,
    mills: [
        -2.3178063415946694e-10, -5.6904328386946796e-10, 1.8259300411592007e-9, 5.6862070455442232e-9,
        -1.0996189645229523e-8, -3.9162353898502962e-8, 7.7109434868297201e-8, 2.4334107298759936e-7,
        -6.7508059173807988e-7, -1.2700724415913274e-6, 6.6444223144707791e-6, 9.6130493066819264e-7,
        -6.04274831526054e-5, 0.00013427684358913041, 0.00021955073769277454, -0.0023788443567108407,
        0.008991370550582201, -0.023413900487691033, 0.047855352284170448, -0.08088387726412745, 0.11606881188600329,
        -0.14345755526401197, 0.076919304975006296,
    ],
    exp: [
        2.0914755325893202e-9, 2.5105312729622102e-8, 2.755727347871858e-7, 2.7557255170000887e-6,
        2.4801587325677462e-5, 0.00019841269875002279, 0.0013888888888883711, 0.0083333333333260831,
        0.04166666666666667, 0.16666666666666671, 0.5,
    ]
}
