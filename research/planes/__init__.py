"""A file format whose packets may be cut at any byte: every rate from one file, exact to the byte.

Frames have as many codes as they are worth. A packet writes its codes range coded, the most
important first, plane after plane; what its bytes no longer tell is absent. The page
docs/bitstream.md specifies it, `eulerodec.bitstream` reads and writes it, and the codec is here.

    energies.py      band energies of blocks of frames <-> codes
    allocation.py    how deep to search for the codes that a packet will hold
    ragged.py        residual search with a depth of its own for each frame
    packet_coder.py  latents and band energies <-> bytes: all of the above
    fit.py           the tables, from energies and codes of training audio
    material.py      what the fit sees: frames of all training audio, and synthetic sounds
    decoder.py       the network's decoder, told the stages and energies of every frame
    recipe.py        fit and training, from one end to the other
    codec.py         recordings to packets of an exact rate, and back
    fitted/          tables, codebooks and decoder that were made so; `python -m research.planes`

Each imports from those above it only.

    control = RateControl(info)                          # eulerodec.bitstream
    coder = PacketCoder(tables, codebooks)
    payload = coder.encode(z, bands, control.budget(n_frames))
    control.spend(n_frames, len(payload))
    writer.write(payload, n_frames)                      # EulWriter
    decoded = coder.decode(payload, n_channels, n_frames)
"""
