module example.org/wadi

go 1.26
