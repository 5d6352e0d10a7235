"""MgNet in plain PyTorch, from the papers' formulas, under the authors' names of modules.

Independent of the package: it carries f and u, where the package carries the residual.
"""

import torch
from torch import nn
from torch.nn import functional as F


def conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Smoothing(nn.Module):
    def __init__(self, a, b, width):
        super().__init__()
        self.A, self.B = a, b
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, u, f):
        r = F.relu(self.bn1(f - self.A(u)))
        return u + F.relu(self.bn2(self.B(r))), f


class Restriction(nn.Module):
    def __init__(self, a_old, a_new, before, width):
        super().__init__()
        self.A_old, self.A_conv = a_old, a_new
        self.Pi_conv, self.R_conv = conv3(before, width, 2), conv3(before, width, 2)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, u, f):
        coarse = F.relu(self.bn1(self.Pi_conv(u)))
        return coarse, F.relu(self.bn2(self.R_conv(f - self.A_old(u)))) + self.A_conv(coarse)


class TorchMgNet(nn.Module):
    def __init__(self, iterations, widths, share_smoother, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3(3, widths[0]), nn.BatchNorm2d(widths[0])
        a = None
        self.grids = []
        for grid, (count, width) in enumerate(zip(iterations, widths, strict=True)):
            a_old, a = a, conv3(width, width)
            steps = [Restriction(a_old, a, widths[grid - 1], width)] if grid else []
            b = conv3(width, width)
            for _ in range(count):
                steps.append(Smoothing(a, b, width))
                b = b if share_smoother else conv3(width, width)
            setattr(self, f"layer{grid}", nn.ModuleList(steps))
            self.grids.append(steps)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        f = F.relu(self.bn1(self.conv1(x)))
        u = torch.zeros_like(f)
        for steps in self.grids:
            for step in steps:
                u, f = step(u, f)
        return self.fc(u.mean((2, 3)))


def random_mgnet(iterations, widths, share_smoother, classes, seed=0):
    """A net whose every number is random, moving statistics included."""
    torch.manual_seed(seed)
    net = TorchMgNet(iterations, widths, share_smoother, classes).eval()
    with torch.no_grad():
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return net


def logits(net, images):
    """The net's logits of images in (N, H, W, C), as an array."""
    with torch.no_grad():
        return net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
