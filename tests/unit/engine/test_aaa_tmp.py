def test_fill():
    b = bytearray(b"x") * 31_000_000
    del b
    a = [bytearray(b"x") * 29_000_000 for _ in range(2)]
    del a
