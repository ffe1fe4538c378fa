"""Networks of symbolic length, as lines of the text language with places for their options."""

from __future__ import annotations

from symgrad.nets.row import Block

__all__ = ["BLOCKS"]

BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block(
            "mlp",
            "A multilayer perceptron z[l] = W[l] a[l-1] + b[l], a[l] = activation(z[l])",
            {"depth": "L", "width": "n", "activation": "tanh"},
            """
            W[{l}] : {width} {width}
            b[{l}] : {width}
            {x} : {width}
            a[0] = {x}
            for {l} in 1..{depth}:
                z[{l}] = W[{l}] @ a[{l}-1] + b[{l}]
                a[{l}] = {activation}(z[{l}])
            {out} = a[{depth}]
            """,
            "x, a[l], b[l] : width; W[l] : width x width; y : width, or classes",
            "Rumelhart, Hinton and Williams 1986",
        ),
        Block(
            "resnet",
            "Residual blocks a[l] = a[l-1] + V[l] activation(W[l] a[l-1])",
            {"depth": "L", "width": "n", "hidden": "m", "activation": "tanh"},
            """
            W[{l}] : {hidden} {width}
            V[{l}] : {width} {hidden}
            {x} : {width}
            a[0] = {x}
            for {l} in 1..{depth}:
                z[{l}] = W[{l}] @ a[{l}-1]
                a[{l}] = a[{l}-1] + V[{l}] @ {activation}(z[{l}])
            {out} = a[{depth}]
            """,
            "x, a[l] : width; W[l] : hidden x width; V[l] : width x hidden",
            "He et al. 2016",
        ),
        Block(
            "rnn",
            "A recurrent network h[t] = activation(W h[t-1] + U x[t] + b)",
            {"length": "T", "width": "n", "inputs": "d", "activation": "tanh"},
            """
            W : {width} {width}
            U : {width} {inputs}
            b : {width}
            {x}[{t}] : {inputs}
            h0 : {width}
            h[0] = h0
            for {t} in 1..{length}:
                z[{t}] = W @ h[{t}-1] + U @ {x}[{t}] + b
                h[{t}] = {activation}(z[{t}])
            {out} = h[{length}]
            """,
            "h[t], b : width; x[t] : inputs; W : width x width; U : width x inputs",
            "Elman 1990",
        ),
        Block(
            "lstm",
            "A long short-term memory with the gates f, i, o and the candidate g",
            {"length": "T", "width": "n", "inputs": "d"},
            """
            W_f : {width} {width}
            W_i : {width} {width}
            W_o : {width} {width}
            W_g : {width} {width}
            U_f : {width} {inputs}
            U_i : {width} {inputs}
            U_o : {width} {inputs}
            U_g : {width} {inputs}
            {x}[{t}] : {inputs}
            h0 : {width}
            c0 : {width}
            h[0] = h0
            c[0] = c0
            for {t} in 1..{length}:
                z_f[{t}] = W_f @ h[{t}-1] + U_f @ {x}[{t}]
                z_i[{t}] = W_i @ h[{t}-1] + U_i @ {x}[{t}]
                z_o[{t}] = W_o @ h[{t}-1] + U_o @ {x}[{t}]
                z_g[{t}] = W_g @ h[{t}-1] + U_g @ {x}[{t}]
                f[{t}] = sigmoid(z_f[{t}])
                i[{t}] = sigmoid(z_i[{t}])
                o[{t}] = sigmoid(z_o[{t}])
                g[{t}] = tanh(z_g[{t}])
                c[{t}] = f[{t}] * c[{t}-1] + i[{t}] * g[{t}]
                h[{t}] = o[{t}] * tanh(c[{t}])
            {out} = h[{length}]
            """,
            "h[t], c[t] : width; x[t] : inputs; W_f, W_i, W_o, W_g : width x width; U_f, U_i, U_o, U_g : width x inputs",
            "Hochreiter and Schmidhuber 1997; Gers et al. 2000",
        ),
        Block(
            "gru",
            "A gated recurrent unit with reset gate r, update gate z and candidate g",
            {"length": "T", "width": "n", "inputs": "d"},
            """
            W_r : {width} {width}
            W_z : {width} {width}
            W_n : {width} {width}
            U_r : {width} {inputs}
            U_z : {width} {inputs}
            U_n : {width} {inputs}
            {x}[{t}] : {inputs}
            h0 : {width}
            h[0] = h0
            for {t} in 1..{length}:
                r[{t}] = sigmoid(W_r @ h[{t}-1] + U_r @ {x}[{t}])
                z[{t}] = sigmoid(W_z @ h[{t}-1] + U_z @ {x}[{t}])
                g[{t}] = tanh(W_n @ (r[{t}] * h[{t}-1]) + U_n @ {x}[{t}])
                h[{t}] = (1 - z[{t}]) * g[{t}] + z[{t}] * h[{t}-1]
            {out} = h[{length}]
            """,
            "h[t] : width; x[t] : inputs; W_r, W_z, W_n : width x width; U_r, U_z, U_n : width x inputs",
            "Cho et al. 2014",
        ),
    )
}
"""Networks of symbolic length by name; called as `out = mlp(x, depth=L, width=n, activation=tanh)`."""
