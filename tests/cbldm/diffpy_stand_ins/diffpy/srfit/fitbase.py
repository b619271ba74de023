"""Profile, contribution, recipe."""

import numpy as np


class Parameter:
    def __init__(self, name: str, value: float) -> None:
        self.name, self.value = name, value


class Profile:
    def loadParsedData(self, parser: object) -> None:
        self.xobs, self.yobs = parser.curve.r, parser.curve.g
        self.dyobs = np.ones_like(self.xobs) if parser.curve.dg is None else parser.curve.dg

    def setCalculationRange(self, xmin: float, xmax: float) -> None:
        within = (self.xobs >= xmin - 1e-9) & (self.xobs <= xmax + 1e-9)
        self.x, self.y, self.dy = self.xobs[within], self.yobs[within], self.dyobs[within]


class FitContribution:
    def __init__(self, name: str) -> None:
        self.name = name

    def addProfileGenerator(self, generator: object) -> None:
        self.generator = generator

    def setProfile(self, profile: Profile, xname: str) -> None:
        assert xname == "r"
        self.profile = profile

    def setEquation(self, equation: str) -> None:
        factor, generator = equation.split(" * ")
        assert generator == self.generator.name
        self.factor_name = factor
        setattr(self, factor, Parameter(factor, 0.0))

    def residual(self) -> np.ndarray:
        profile = self.profile
        profile.ycalc = getattr(self, self.factor_name).value * self.generator(profile.x)
        return (profile.y - profile.ycalc) / profile.dy


class FitRecipe:
    def __init__(self) -> None:
        self.variables: dict[str, tuple[float, list[Parameter]]] = {}

    def clearFitHooks(self) -> None:
        pass

    def addContribution(self, contribution: FitContribution) -> None:
        self.contribution = contribution

    def addVar(self, parameter: Parameter, value: float | None = None, name: str | None = None) -> None:
        value = parameter.value if value is None else value
        self.variables[name or parameter.name] = (value, [parameter])

    def newVar(self, name: str, value: float) -> None:
        self.variables[name] = (value, [])

    def constrain(self, parameter: Parameter, variable: str) -> None:
        self.variables[variable][1].append(parameter)

    @property
    def names(self) -> list[str]:
        return list(self.variables)

    @property
    def values(self) -> np.ndarray:
        return np.array([value for value, _ in self.variables.values()])

    def residual(self, values: np.ndarray) -> np.ndarray:
        for (name, (_, parameters)), value in zip(list(self.variables.items()), values, strict=True):
            self.variables[name] = (value, parameters)
            for parameter in parameters:
                parameter.value = value
        return self.contribution.residual()


class FitResults:
    def __init__(self, recipe: FitRecipe) -> None:
        self.recipe = recipe

    def saveResults(self, path: str) -> None:
        with open(path, "w") as file:  # noqa: PTH123
            file.write(f"{self.recipe.names}\n")
